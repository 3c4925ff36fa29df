"""Nouns of the lexicon by what they name: clothes, their parts, the body, persons, non-persons, objects and places.

Words are written in the singular and with spaces instead of hyphens. Which attribute a word expresses is in the space's YAML file; the
words of market1501.yaml (hats, bags, trousers, women ...) are not repeated here.
"""

# Garments of the upper half of the body, of the lower half and of both; and accessories, whose colours are not colours of clothes.
UPPER_GARMENTS = """ shirt, top, blouse, turtleneck, turtle neck, jersey, vest, waistcoat, uniform, tunic, henley, flannel, flannel shirt,
button up, button down, button up shirt, button down shirt, dress shirt, work shirt, polo neck, roll neck, crewneck, crew neck, v neck,
undershirt, overshirt, kurta, poncho, cape, cloak, shrug, bustier, corset, bodice, gilet, life vest, life jacket, hawaiian shirt, sweater
vest, puffer vest, safety vest, rash guard, outerwear, outer layer, upper clothes, upper garment, base layer, shell, bandeau top, oxford,
over shirt, under shirt, waist coat, soft shell, quarter zip, half zip, cowl neck, boat neck, scoop neck, long john top, peplum, caftan
top, smock, doublet, tabard, uniform top, uniform shirt, thermal, longsleeve, shacket, mock neck, mockneck, vest jacket, bathing top, tops,
one shoulder top, off shoulder top, off the shoulder top, wrap top, knit, sweater top, upper body clothing, upper body, suit vest,
softshell, kaftan top, singlet top
"""
BARE_NOUNS = {  # adjectives that some write for a garment: "a black short", "his upper is black"
    "short": "shorts", "tight": "tights", "bottom": "bottoms", "upper": "upper body", "lower": "lower body",
}  # fmt: skip
HALVES = frozenset(["upper", "lower"])  # of them, the field names of a form: "upper black, lower blue"
LOWER_GARMENTS = """
skirt, bottoms, lower clothes, lower garment, knickers, underpants, suit pants, suit trousers, dress pants, dress trousers, lower body,
bottom wear, underpant, lower body clothing, long johns, loincloth, boxer briefs, briefs, bikini bottoms, bloomers, pantaloons, plus fours,
pajama bottoms, wide legs
"""
FULL_BODY_GARMENTS = """
dress, suit, jumpsuit, jump suit, overalls, overall, coveralls, coverall, boiler suit, onesie, romper, playsuit, bodysuit, leotard,
unitard, wetsuit, wet suit, spacesuit, space suit, ski suit, swimsuit, swim suit, bathing suit, bikini, clothes, clothing, clothe,
outfit, attire, garb, apparel, garments, garment, costume, ensemble, getup, wardrobe, pajamas, pyjamas, nightgown, nightdress,
sleepwear, sportswear, activewear, workwear, streetwear, scrubs, abaya, burqa, hanfu, cheongsam, qipao, hanbok, sari, saree, toga, tunic
dress, cassock, armor, armour, gear, gi, flight suit, racing suit, hazmat suit, catsuit, lingerie, swimwear, sleeper, singlet suit,
camouflage uniform, combat uniform, baseball uniform, football uniform, soccer uniform, karate gi, loungewear, athleisure, monokini,
caftan, kaftan, djellaba, thobe, salwar kameez, lehenga, body suit, co ord set, cap and gown, pjs, morning suit, military fatigues,
negligee, babydoll, night gown, night dress, sleep wear, sports wear, sport wear, work wear, swim wear, lounge wear, play suit, cat
suit
"""
ACCESSORIES = """
shoe, sneaker, boot, heel, high heel, sandal, slipper, loafer, clog, trainer, flip flop, flipflop, moccasin, footwear, running shoe, tennis
shoe, flat, ballet flat, oxfords, brogue, pump, stiletto, wedge, espadrille, mule, croc, kick, cleat, wellington, wellies, galoshes, skate,
rollerblade, roller skate, ice skate, snowshoe, flippers, bootie, ankle boot, rain boot, cowboy boot, combat boot, hiking boot, platform,
sock, stocking, pantyhose, hosiery, legwarmer, leg warmer, knee sock, knee high, thigh high, fishnets, fishnet stocking, gaiter, belt, tie,
bow tie, bowtie, necktie, cravat, ascot, neckerchief, kerchief, scarf, shawl, pashmina, stole, boa, glove, mitten, muff, glasses,
sunglasses, eyeglasses, spectacles, goggles, shades, aviators, watch, wristwatch, bracelet, bangle, necklace, pendant, choker, earring,
hoop, ring, jewelry, jewellery, brooch, pin, badge, lanyard, nametag, name tag, id card, headphone, earphone, earbud, headset, mask, face
mask, bandana, bandanna, headband, head band, hairband, hair band, hair tie, hair clip, hairpin, scrunchie, headscarf, head scarf, hijab,
turban, veil, crown, tiara, wreath, ribbon, bow, suspenders, braces, apron, bib, cummerbund, sash, armband, wristband, sweatband, knee pad,
elbow pad, shin guard, harness, holster, underwear, chain, cuff, cufflink, anklet, garter, pocket square, lei, garland, cowl, do rag,
durag, wig, mustache, moustache, beard, goatee, stubble, tattoo, makeup, lipstick, nail polish, bandage, cast, brace, wallet, pouch, towel,
blanket, bandolier, toe, smartwatch, fitness tracker, snood, neck warmer, headdress, headwrap, head wrap, headpiece, visor sunglasses,
armor plate, fur, hairnet, hair net, doo rag, niqab, earmuff, ear muff, waist belt, sole, jewel, high top, low top, sun glasses, eye
glasses, foot wear, wrist watch, neck lace, ear ring, ear phone, head phone, ear bud, head set, neck tie, arm band, wrist band, head dress,
sneeker, tennis shoes, flip flops, sport shoe, sports shoe, leather shoe, dress shoe
"""

# Clothes of the upper body that are no part of the name of trousers: "a black jacket jeans" lacks a comma, "flannel trousers" do not.
UPPER_BEFORE_LOWER = """
shirt, t shirt, tee shirt, tshirt, tee, top, blouse, jacket, coat, hoodie, sweatshirt, cardigan, blazer, vest, tank top, sweater, pullover
"""

# What clothes do that nobody wears.
HANGING = """
hanging, hangs, lying, lies, resting, rests, draping, drapes, dangling, dangles, sitting, sits, laying, lays, drying, swinging, slinging
"""

# Whose colour says nothing about the clothes that are listed after it.
FOOTWEAR = """
shoe, sneaker, boot, heel, sandal, slipper, loafer, clog, trainer, flop, flipflop, moccasin, footwear, flat, brogue, pump, stiletto, wedge,
croc, cleat, sock, stocking, bootie, platform, oxfords, slide
"""

# Clothes that people often carry, so that in a list of what is carried they are not worn.
CARRIED_OFTEN = """
jacket, coat, sweater, hoodie, hoody, cardigan, blazer, sweatshirt, raincoat, windbreaker, parka, scarf, shawl, hat, cap, helmet, beanie,
glove, clothes, clothing, garment, outfit, towel, blanket, umbrella, shoe, boot, skate, mask, suit, dress, gown, uniform, costume
"""

# Parts of clothes: the colours of those in the first list are colours of the garment.
COLORED_PARTS = """
stripe, dot, polka dot, check, pinstripe, pattern, spot, panel, square, diamond, plaid, checker, sleeve, color block, colour block, line
"""
GARMENT_PARTS = """
collar, logo, button, trim, print, lace, zipper, zip, pocket, hem, hemline, cuffs, lining, strap, lettering, letter, graphic, design,
emblem, stitching, piping, ruffle, fringe, detail, accent, drawstring, hood, lapel, neckline, placket, brim, handle, seam, yoke, patch,
embroidery, pleat, waistband, buckle, tassel, pompom, sequin, slogan, insignia, epaulette, crease, edge, edging, border, armhole, pom
pom, laces, reflective strip, strip, band, peplum hem, flare, toggles, toggle, snap, material, fabric, motif, floral, writing, bodice
panel, shoulder pad, rhinestone, shoulder strap
"""

# Nouns whose typing errors are mended, besides the long names of clothes.
OFTEN_MISSPELLED = """
top tops person woman women man men boy girl lady ladies male female child gentleman shirt shirts tshirt blouse jacket coat vest dress
skirt shorts pants pant trousers trouser jeans jean suit polo bag bags backpack handbag purse satchel briefcase hat cap beanie helmet hair
ponytail braid braids tail length waist collar shoe shoes sneakers boots sandals glasses sunglasses scarf belt
"""

BODY_PARTS = """
arm, forearm, hand, elbow, lap, shoulder, head, neck, waist, hip, back, chest, ear, eye, face, foot, leg, knee, ankle, wrist, finger,
thigh, stomach, belly, chin, cheek, nose, mouth, forehead, body, torso, skin, toe, calf, brow, eyebrow, lip, smile, palm, fist
"""
HAIR = """
hair, perm, hairstyle, hair style, haircut, hairdo, locks, tress, mane, curl, bangs
"""

# Persons without a gender or an age; a collective noun gives way to the single person that a caption mentions after it.
LETTERS_OF_PERSONS = {  # of a form: "Sex: M"; with both letters it is not filled in
    f"{field}{mark}{letter}": noun
    for field in ("sex", "gender")
    for mark in (" ", " : ", " = ")
    for letter, noun in (("m", "male"), ("f", "female"), ("m / f", "person"), ("f / m", "person"))
}
PERSONS = """
person, someone, somebody, individual, human, human being, figure, people, pedestrian, crowd, group, couple, stranger, passer by,
passerby, passersby, bystander, onlooker, spectator, audience, friend, companion, partner, parent, family, sibling, colleague, coworker,
co worker, neighbor, customer, shopper, client, vendor, seller, shopkeeper, cashier, clerk, worker, employee, laborer, builder,
engineer, electrician, plumber, mechanic, technician, scientist, researcher, doctor, nurse, surgeon, dentist, patient, caregiver, nanny,
teacher, professor, student, pupil, graduate, scholar, classmate, chef, cook, baker, butcher, barista, bartender, waiter, server,
driver, chauffeur, pilot, captain, sailor, soldier, officer, police officer, policeperson, cop, guard, security guard, firefighter,
paramedic, detective, agent, judge, lawyer, manager, executive, professional, boss, secretary, assistant, model, fashion model, actor,
singer, musician, guitarist, violinist, pianist, drummer, saxophonist, performer, dancer, artist, painter, photographer, sculptor,
writer, poet, reporter, journalist, presenter, speaker, host, comedian, magician, clown, juggler, acrobat, gymnast, athlete, runner,
jogger, sprinter, cyclist, bicyclist, biker, motorcyclist, rider, skater, skateboarder, skier, snowboarder, surfer, swimmer, diver,
lifeguard, hiker, climber, mountaineer, camper, backpacker, traveler, traveller, tourist, visitor, sightseer, commuter, passenger,
golfer, player, tennis player, basketball player, football player, soccer player, baseball player, footballer, goalkeeper, goalie,
pitcher, batter, catcher, referee, umpire, coach, boxer, wrestler, fighter, bodybuilder, weightlifter, archer, hunter, angler, farmer,
gardener, florist, rancher, shepherd, carpenter, welder, miner, janitor, cleaner, maid, housekeeper, porter, bellhop, courier, messenger
person, delivery person, rider person, priest, pastor, preacher, bishop, pope, imam, rabbi, pilgrim, beggar, hipster, goth, punk,
rocker, rapper, dj, influencer, blogger, vlogger, subject, main subject, twin, best friend, guest, attendee, participant, protester,
demonstrator, marcher, fan, supporter, member, volunteer, scout, boy scout, girl scout, knight, warrior, samurai, ninja, viking, pirate,
witch, wizard, vampire, zombie, superhero, villain, elf, fairy, angel, mermaid, santa, santa claus, adventurer, explorer, astronaut,
sniper, veteran, general, lieutenant, sergeant, private, cadet, recruit, trooper, resident, citizen, villager, local, native, toddler,
youth, yogi, yoga instructor, instructor, trainer person, hitchhiker, wanderer, walker, dog walker, stroller pusher,
busker, street performer, street vendor, office worker, construction worker, factory worker, healthcare worker, medical worker, shop
assistant, flight attendant, air hostess, hairdresser, barber, tailor, cobbler, stylist, designer, architect, developer, programmer,
gamer, reader, inmate, prisoner, convict, criminal, thief, victim, hero, protagonist, character, woodsman, peer, ballet dancer,
ballerina, cheerleader, majorette, mascot person, owner, lover, fisher, crossing guard, traffic warden, conductor, usher, receptionist,
librarian, pharmacist, vet, veterinarian, therapist, monk, others, speaker person, rower, kayaker, canoeist, paddler, sledder,
spelunker, trekker, rambler, stroller walker, parkgoer, concertgoer, festivalgoer, churchgoer, beachgoer, moviegoer, partygoer,
newlywed, pair of friends, trio, duo
"""
COLLECTIVE_PERSONS = """
people group crowd audience family others couple persons pedestrians passersby trio duo members friends pair
"""

# Non-persons that can wear something.
ANIMALS = """
dog, puppy, cat, kitten, horse, pony, donkey, poodle, terrier, bulldog, chihuahua, dachshund, labrador, retriever, corgi, pug, monkey,
pet
"""
FIGURES = """
mannequin, manikin, dummy, doll, baby doll, statue, sculpture, snowman, scarecrow, teddy bear, teddy, stuffed animal, puppet, poster,
billboard, mascot, robot, toy soldier, action figure, portrait, painting, cutout, gnome, skeleton, plush, bear, bunny, rabbit,
advertisement, mural
"""

# Where clothes are that nobody wears; other objects; and places.
STORAGE = """
rack, clothes rack, clothing rack, coat rack, store, shop, boutique, shop window, store window, window, window display, display, closet,
wardrobe closet, shelf, hanger, coat hanger, hook, clothesline, clothes line, washing line, laundry line, stall, market, market stall,
stand, pile, stack, basket, box, row, line of, bin, cart of, bunch, collection, selection, assortment, display case, hat stand, dresser,
drawer, laundry, mall, department store, table of, crate, load, heap, clothing store, shoe store, hat shop
"""
OBJECTS = """
car, truck, van, bus, taxi, cab, bike, bicycle, motorcycle, motorbike, scooter, train, tram, subway, boat, ship, yacht, canoe, kayak,
plane, airplane, helicopter, vehicle, excavator, tractor, wagon, cart, stroller, baby stroller, baby carriage, carriage, pram, pushchair,
wheelchair, shopping cart, trolley, suitcase, luggage, trunk of, baggage, guitar, guitar case, case, violin, violin case, piano, drum,
trumpet, saxophone, microphone, podium, camera, tripod, phone, cellphone, cell phone, smartphone, mobile phone, laptop, computer, tablet,
book, newspaper, magazine, paper, folder, notebook, clipboard, pen, map, cup, coffee cup, mug, glass, bottle, water bottle, can, plate,
bowl, food, pizza, sandwich, apple, banana, ice cream, ice cream cone, cone, cake, flower, bouquet, tulip, rose, sunflower, plant, potted
plant, tree, bush, hedge, grass, leaf, umbrella, parasol, cane, walking stick, stick, pole, trekking pole, ski, ski pole, snowboard,
skateboard, surfboard, board, racket, tennis racket, racquet, ball, soccer ball, basketball, football, baseball bat, bat, golf club, club,
hockey stick, frisbee, kite, balloon, flag, banner, sign, street sign, stop sign, traffic light, light, lamp, lamppost, lamp post,
streetlight, street light, lantern, candle, flashlight, torch, fire, sword, gun, rifle, shield, wand, staff, rope, leash, collar leash,
bench, chair, couch, sofa, table, desk, bed, stool, counter, cabinet, mirror, curtain, rug, carpet, red carpet, mat, pillow, cushion, door,
doorway, gate, fence, railing, wall, brick wall, building, house, white house, tower, eiffel tower, church, temple, castle, office, bridge,
road, street, sidewalk, pavement, path, pathway, trail, track, lane, crosswalk, intersection, parking lot, parking garage, garage, station,
bus stop, platform edge, airport, pier, dock, harbor, park, garden, field, lawn, meadow, forest, wood, jungle, desert, beach, ocean, sea,
lake, river, water, pool, swimming pool, fountain, waterfall, mountain, hill, snow, ice, rink, sky, cloud, sun, sunset, rain, fog, mist,
background, backdrop, foreground, scene, surface, room, living room, kitchen, bathroom, bedroom, hallway, corridor, lobby, elevator,
escalator, stair, staircase, step, stairway, floor, ceiling, roof, rooftop, balcony, stage, studio, gym, court, tennis court, basketball
court, stadium, school, classroom, library, hospital, hotel, restaurant, cafe, café, bar, market square, square, plaza, city, town,
village, alley, countryside, farm, barn, greenhouse, ground, dirt, sand, rock, stone, brick, tile, panel wall, screen, television, tv,
monitor, keyboard, toy, toy truck, truck toy, teddy toy, bell, barrel, bucket, broom, mop, shovel, rake, hammer, tool, toolbox, ladder,
crane, cone sign, barrier, bird, pigeon, duck, cow, sheep, goat, elephant, lion, tiger, fish, butterfly, animal, camel animal, fishing rod,
rod, net, wheel, helmet stand, tent, campfire, fireplace, bubble, confetti, smoke, photo, photograph, picture of, image of, shot, camera
lens, viewer, lens, wind, breeze, shadow, reflection, air, day, night, morning, evening, afternoon, winter, summer, autumn, fall, spring,
fridge, refrigerator, oven, stove, sink, shower, toilet, washing machine, machine, vending machine, robot arm, engine, tire, motor,
container, shipping container, crossing, corner, kiosk, booth, phone booth, mailbox, hydrant, fire hydrant, trash can, garbage can, trash
bag, garbage bag, punching bag, sleeping bag, bean bag, beanbag, tea bag, sandbag, airbag, bag of chips, bag of popcorn, bottle cap, ice
cap, cap stone, bag rack, knee cap, gas cap, mushroom cap, ice cream truck, food truck, fire truck, police car, race car, sports car, coat
of paint, tank of, fish tank, water tank, gas tank, army tank, slide, swing, playground, merry go round, carousel, ferris wheel, roller
coaster, theater, theatre, cinema, museum, gallery, exhibit, monument, arch, column, pillar, ruin, cave, cliff, canyon, valley, island,
tower block, skyscraper, skyline, neighborhood, street corner, world, life, game, match, race, marathon, party, wedding, concert, parade,
festival, event, ceremony, meeting, conversation, time, way, end, look, expression, pose, position, posture, gaze, direction,
motion, movement, stride, step forward, drink, coffee, tea, water glass, juice, beer, wine, wine glass, cocktail, snack, candy, lollipop,
cigarette, pipe, vape, key, card, ticket, money, cash, coin, gift, present, package, parcel, trophy, medal, award, certificate, diploma,
headlight, billboard sign, screen door, bookshelf, bookcase, book shelf, art, artwork, drawing, sketch, wallpaper, cardboard box, wooden
box, arm sling, baby sling, something, anything, everything, thing, guitar strap, camera strap
"""
PLACES = """
street, road, sidewalk, park, beach, field, room, hallway, city, town, forest, path, pathway, garden, bridge, stage, lawn, court, plaza,
square, pier, balcony, rooftop, snow, grass, water, rain, sand, kitchen, office, studio, lobby, station, bus stop, parking lot, alley,
trail, hill, mountain, stair, staircase, corner, pavement, market, mall, gym, floor, ground, track, yard, backyard, river, lake,
crosswalk
"""
