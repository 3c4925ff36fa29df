"""English words by what they are in a sentence about a person: the part of the labeller's lexicon that no attribute space needs to say.

Singulars stand for their plurals and spaces for hyphens. What a word says about an attribute is in the space's own file.
"""

# What comes before a noun; a pair of trousers is trousers.
DETERMINERS = """
a, an, the, this, that, these, those, some, any, each, every, another, both, several, many, few, various, multiple, one, two, three,
four, five, six, its, whose, their, my, your, our, pair of, pairs of, set of, sets of, kind of, type of, piece of, sort of, bit of,
color of, colour of, lots of, lot of, plenty of, style of, combination of, mix of, ensemble of, outfit of, couple of, layers of, layer
of, variety of, number of, pieces of
"""
INDEFINITE = """
a an another some any each every one two three four five six several many few various multiple a
"""
OTHERS = """
another other others second third next fellow nearby passing neighboring opposite different additional
"""

# Pronouns.
POSSESSIVE = """
his her their whose its my your our
"""
NOMINATIVE = """
he she they
"""
OBJECTIVE = """
him hers herself himself them theirs themself themselves
"""

# Garments of the upper half, the lower half and both; and what is worn besides, whose colours are its own.
UPPER = """
shirt, top, blouse, turtleneck, turtle neck, jersey, vest, waistcoat, uniform, tunic, henley, flannel, flannel shirt, button up, button
down, button up shirt, button down shirt, dress shirt, work shirt, polo neck, roll neck, crewneck, crew neck, v neck, undershirt,
overshirt, kurta, poncho, cape, cloak, shrug, bustier, corset, bodice, gilet, life vest, life jacket, hawaiian shirt, sweater vest,
puffer vest, safety vest, rash guard, outerwear, outer layer, upper clothes, upper garment, base layer, shell, mackintosh, bandeau top,
peplum, caftan top, smock, doublet, tabard, uniform top, uniform shirt, thermal, longsleeve, shacket, mock neck, mockneck, vest jacket,
bathing top, tops, one shoulder top, off shoulder top, off the shoulder top, wrap top, knit, sweater top, upper body clothing, upper
body, suit vest, softshell, kaftan top, singlet top
"""
LOWER = """
skirt, bottoms, lower clothes, lower garment, knickers, underpants, suit pants, suit trousers, dress pants, dress trousers, lower body,
bottom wear, lower body clothing, long johns, loincloth, boxer briefs, briefs, bikini bottoms, bloomers, pantaloons, plus fours, pajama
bottoms, wide legs
"""
WHOLE = """
dress, suit, jumpsuit, jump suit, overalls, overall, coveralls, coverall, boiler suit, onesie, romper, playsuit, bodysuit, leotard,
unitard, wetsuit, wet suit, spacesuit, space suit, ski suit, swimsuit, swim suit, bathing suit, bikini, clothes, clothing, clothe,
outfit, attire, garb, apparel, garments, garment, costume, ensemble, getup, wardrobe, pajamas, pyjamas, nightgown, nightdress,
sleepwear, sportswear, activewear, workwear, streetwear, scrubs, abaya, burqa, hanfu, cheongsam, qipao, hanbok, sari, saree, toga, tunic
dress, cassock, armor, armour, gear, gi, flight suit, racing suit, hazmat suit, catsuit, lingerie, swimwear, sleeper, singlet suit,
camouflage uniform, combat uniform, baseball uniform, football uniform, soccer uniform, karate gi, loungewear, athleisure, monokini,
caftan, kaftan, djellaba, thobe, salwar kameez, lehenga, body suit, co ord set, cap and gown, pjs, morning suit, military fatigues,
negligee, babydoll
"""
APART = """
shoe, sneaker, boot, heel, high heel, sandal, slipper, loafer, clog, trainer, flip flop, flipflop, moccasin, footwear, running shoe,
tennis shoe, flat, ballet flat, oxford, brogue, pump, stiletto, wedge, espadrille, mule, croc, kick, cleat, wellington, wellies,
galoshes, skate, rollerblade, roller skate, ice skate, snowshoe, flippers, bootie, ankle boot, rain boot, cowboy boot, combat boot,
hiking boot, platform, sock, stocking, pantyhose, hosiery, legwarmer, leg warmer, knee sock, knee high, thigh high, fishnets, fishnet
stocking, gaiter, belt, tie, bow tie, bowtie, necktie, cravat, ascot, neckerchief, kerchief, scarf, shawl, pashmina, stole, boa, glove,
mitten, muff, glasses, sunglasses, eyeglasses, spectacles, goggles, shades, aviators, watch, wristwatch, bracelet, bangle, necklace,
pendant, choker, earring, hoop, ring, jewelry, jewellery, brooch, pin, badge, lanyard, nametag, name tag, id card, headphone, earphone,
earbud, headset, mask, face mask, bandana, bandanna, headband, head band, hairband, hair band, hair tie, hair clip, hairpin, scrunchie,
headscarf, head scarf, hijab, turban, veil, crown, tiara, wreath, ribbon, bow, suspenders, braces, apron, bib, cummerbund, sash,
armband, wristband, sweatband, knee pad, elbow pad, shin guard, harness, holster, underwear, chain, cuff, cufflink, anklet, garter,
pocket square, lei, garland, cowl, do rag, durag, wig, mustache, moustache, beard, goatee, stubble, tattoo, makeup, lipstick, nail
polish, bandage, cast, brace, wallet, pouch, towel, blanket, bandolier, toe, smartwatch, fitness tracker, snood, neck warmer, headdress,
headwrap, head wrap, headpiece, visor sunglasses, armor plate, fur, hairnet, hair net, doo rag, niqab, earmuff, ear muff, waist belt,
sole, jewel
"""

# Parts of clothes: those of the first list give the garment their colour.
COLOURED_PARTS = """
stripe, dot, polka dot, check, pinstripe, pattern, spot, panel, square, diamond, plaid, checker, sleeve, color block, colour block
"""
PARTS = """
collar, logo, button, trim, print, lace, zipper, zip, pocket, hem, hemline, cuffs, lining, strap, lettering, letter, graphic, design,
emblem, stitching, piping, ruffle, fringe, detail, accent, drawstring, hood, lapel, neckline, placket, brim, handle, seam, yoke, patch,
embroidery, pleat, waistband, buckle, tassel, pompom, sequin, slogan, insignia, epaulette, crease, edge, edging, border, armhole, pom
pom, laces, reflective strip, strip, band, peplum hem, flare, toggles, toggle, snap, material, fabric, motif, floral, writing, bodice
panel, shoulder pad, rhinestone, shoulder strap, line
"""

# The body.
BODY = """
arm, forearm, hand, elbow, lap, shoulder, head, neck, waist, hip, back, chest, ear, eye, face, foot, leg, knee, ankle, wrist, finger,
thigh, stomach, belly, chin, cheek, nose, mouth, forehead, body, torso, skin, toe, calf, brow, eyebrow, lip, smile, palm, fist
"""
HAIR = """
hair, hairstyle, hair style, haircut, hairdo, locks, tress, mane, curl, bangs
"""

# Persons of whom nothing more is said; several of them are no subject where one person follows.
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
youth, young adult, yogi, yoga instructor, instructor, trainer person, hitchhiker, wanderer, walker, dog walker, stroller pusher,
busker, street performer, street vendor, office worker, construction worker, factory worker, healthcare worker, medical worker, shop
assistant, flight attendant, air hostess, hairdresser, barber, tailor, cobbler, stylist, designer, architect, developer, programmer,
gamer, reader, inmate, prisoner, convict, criminal, thief, victim, hero, protagonist, character, woodsman, peer, ballet dancer,
ballerina, cheerleader, majorette, mascot person, owner, lover, fisher, crossing guard, traffic warden, conductor, usher, receptionist,
librarian, pharmacist, vet, veterinarian, therapist, monk, others, speaker person, rower, kayaker, canoeist, paddler, sledder,
spelunker, trekker, rambler, stroller walker, parkgoer, concertgoer, festivalgoer, churchgoer, beachgoer, moviegoer, partygoer,
newlywed, pair of friends, trio, duo
"""
COLLECTIVE = """
people group crowd audience family others couple persons pedestrians passersby trio duo members friends pair
"""

# What is no person, but can wear something.
ANIMALS = """
dog, puppy, cat, kitten, horse, pony, donkey, poodle, terrier, bulldog, chihuahua, dachshund, labrador, retriever, corgi, pug, monkey,
pet
"""
FIGURES = """
mannequin, manikin, dummy, doll, baby doll, statue, sculpture, snowman, scarecrow, teddy bear, teddy, stuffed animal, puppet, poster,
billboard, mascot, robot, toy soldier, action figure, portrait, painting, cutout, gnome, skeleton, plush, bear, bunny, rabbit,
advertisement, mural
"""

# Where clothes are that nobody wears; other objects; and places, of which nothing is worn.
HOLDERS = """
rack, clothes rack, clothing rack, coat rack, store, shop, boutique, shop window, store window, window, window display, display, closet,
wardrobe closet, shelf, hanger, coat hanger, hook, clothesline, clothes line, washing line, laundry line, stall, market, market stall,
stand, pile, stack, basket, box, row, line of, bin, cart of, bunch, collection, selection, assortment, display case, hat stand, dresser,
drawer, laundry, mall, department store, table of, crate, load, heap, clothing store, shoe store, hat shop
"""
OBJECTS = """
car, truck, van, bus, taxi, cab, bike, bicycle, motorcycle, motorbike, scooter, train, tram, subway, boat, ship, yacht, canoe, kayak,
plane, airplane, helicopter, vehicle, excavator, tractor, wagon, cart, stroller, baby stroller, baby carriage, carriage, pram,
pushchair, wheelchair, shopping cart, trolley, suitcase, luggage, trunk of, baggage, guitar, guitar case, case, violin, violin case,
piano, drum, trumpet, saxophone, microphone, podium, camera, tripod, phone, cellphone, cell phone, smartphone, mobile phone, laptop,
computer, tablet, book, newspaper, magazine, paper, folder, notebook, clipboard, pen, map, cup, coffee cup, mug, glass, bottle, water
bottle, can, plate, bowl, food, pizza, sandwich, apple, banana, ice cream, ice cream cone, cone, cake, flower, bouquet, tulip, rose,
sunflower, plant, potted plant, tree, bush, hedge, grass, leaf, umbrella, parasol, cane, walking stick, stick, pole, trekking pole, ski,
ski pole, snowboard, skateboard, surfboard, board, racket, tennis racket, racquet, ball, soccer ball, basketball, football, baseball
bat, bat, golf club, club, hockey stick, frisbee, kite, balloon, flag, banner, sign, street sign, stop sign, traffic light, light, lamp,
lamppost, lamp post, streetlight, street light, lantern, candle, flashlight, torch, fire, sword, gun, rifle, shield, wand, staff, rope,
leash, collar leash, bench, chair, couch, sofa, table, desk, bed, stool, counter, cabinet, mirror, curtain, rug, carpet, red carpet,
mat, pillow, cushion, door, doorway, gate, fence, railing, wall, brick wall, building, house, white house, tower, eiffel tower, church,
temple, castle, office, bridge, road, street, sidewalk, pavement, path, pathway, trail, track, lane, crosswalk, intersection, parking
lot, parking garage, garage, station, bus stop, platform edge, airport, pier, dock, harbor, park, garden, field, lawn, meadow, forest,
wood, jungle, desert, beach, ocean, sea, lake, river, water, pool, swimming pool, fountain, waterfall, mountain, hill, snow, ice, rink,
sky, cloud, sun, sunset, rain, fog, mist, background, backdrop, foreground, scene, surface, room, living room, kitchen, bathroom,
bedroom, hallway, corridor, lobby, elevator, escalator, stair, staircase, step, stairway, floor, ceiling, roof, rooftop, balcony, stage,
studio, gym, court, tennis court, basketball court, stadium, school, classroom, library, hospital, hotel, restaurant, cafe, café, bar,
market square, square, plaza, city, town, village, alley, countryside, farm, barn, greenhouse, ground, dirt, sand, rock, stone, brick,
tile, panel wall, screen, television, tv, monitor, keyboard, toy, toy truck, truck toy, teddy toy, bell, barrel, bucket, broom, mop,
shovel, rake, hammer, tool, toolbox, ladder, crane, cone sign, barrier, bird, pigeon, duck, cow, sheep, goat, elephant, lion, tiger,
fish, butterfly, animal, camel animal, fishing rod, rod, net, wheel, helmet stand, tent, campfire, fireplace, bubble, confetti, smoke,
photo, photograph, picture of, image of, shot, camera lens, viewer, lens, wind, breeze, shadow, reflection, air, day, night, morning,
evening, afternoon, winter, summer, autumn, fall, spring, fridge, refrigerator, oven, stove, sink, shower, toilet, washing machine,
machine, vending machine, robot arm, engine, tire, motor, container, shipping container, crossing, corner, kiosk, booth, phone booth,
mailbox, hydrant, fire hydrant, trash can, garbage can, trash bag, garbage bag, punching bag, sleeping bag, bean bag, beanbag, tea bag,
sandbag, airbag, bag of chips, bag of popcorn, bottle cap, ice cap, cap stone, bag rack, knee cap, gas cap, mushroom cap, ice cream
truck, food truck, fire truck, police car, race car, sports car, coat of paint, tank of, fish tank, water tank, gas tank, army tank,
slide, swing, playground, merry go round, carousel, ferris wheel, roller coaster, theater, theatre, cinema, museum, gallery, exhibit,
monument, arch, column, pillar, ruin, cave, cliff, canyon, valley, island, tower block, skyscraper, skyline, neighborhood, street
corner, world, life, game, match, race, marathon, party, wedding, concert, parade, festival, event, ceremony, meeting, conversation,
time, way, end, top of, look, expression, pose, position, posture, gaze, direction, motion, movement, stride, step forward, drink,
coffee, tea, water glass, juice, beer, wine, wine glass, cocktail, snack, candy, lollipop, cigarette, pipe, vape, key, card, ticket,
money, cash, coin, gift, present, package, parcel, trophy, medal, award, certificate, diploma, headlight, billboard sign, screen door,
bookshelf, bookcase, book shelf, art, artwork, drawing, sketch, wallpaper, cardboard box, wooden box, arm sling, baby sling, guitar
strap, camera strap
"""
PLACES = """
street, road, sidewalk, park, beach, field, room, hallway, city, town, forest, path, pathway, garden, bridge, stage, lawn, court, plaza,
square, pier, balcony, rooftop, snow, grass, water, rain, sand, kitchen, office, studio, lobby, station, bus stop, parking lot, alley,
trail, hill, mountain, stair, staircase, corner, pavement, market, mall, gym, floor, ground, track, yard, backyard, river, lake,
crosswalk
"""

# Colour -> the words for it; "other" are known colours without a family of their own.
COLORS = {
    "black": """
black, jet black, ebony, onyx, pitch black, coal black, raven black, blackish, charcoal black, midnight black, off black
""",
    "white": """
white, cream, ivory, off white, offwhite, eggshell, pearl white, snow white, creamy white, whitish, cream white, alabaster, milky white,
ivory white, bone white, ecru, milk white, cream coloured, cream colored, creamy
""",
    "red": """
red, maroon, burgundy, crimson, scarlet, dark red, wine red, wine, ruby, cherry red, brick red, blood red, reddish, ruby red, vermilion,
cardinal red, oxblood, bordeaux, cherry, claret, garnet, fire engine red, fiery red, crimson red, maroon red, burgundy red, candy red,
tomato red, merlot
""",
    "purple": """
purple, violet, lavender, lilac, mauve, plum, magenta purple, eggplant, aubergine, amethyst, purplish, grape, royal purple, lavender
purple, deep plum, heather purple, orchid, periwinkle purple, plum colored
""",
    "yellow": """
yellow, gold, golden, mustard, mustard yellow, lemon, lemon yellow, canary yellow, golden yellow, yellowish, butter yellow, sunflower
yellow, ochre, amber, saffron, neon yellow, canary, gold colored, marigold
""",
    "blue": """
blue, navy, navy blue, royal blue, sky blue, baby blue, cobalt, cobalt blue, azure, indigo, powder blue, steel blue, midnight blue,
cornflower blue, ice blue, electric blue, slate blue, denim blue, cerulean, sapphire, periwinkle, bluish, light blue, dark blue, indigo
blue, ocean blue, aqua blue, teal blue, cyan blue, gray blue, grey blue, marine blue, navy colored, sapphire blue, pastel blue, petrol
blue, cerulean blue, azure blue, bluejean, dusty blue
""",
    "green": """
green, olive, olive green, lime, lime green, mint, mint green, khaki green, emerald, emerald green, forest green, sage, sage green,
hunter green, army green, sea green, seafoam, jade, jade green, moss green, bottle green, kelly green, neon green, military green,
greenish, chartreuse, pea green, apple green, forest, teal green, dark olive, olive drab, avocado green, pistachio, olive colored, moss,
seafoam green, pine green, fern green, grass green, racing green, light khaki green
""",
    "gray": """
gray, grey, silver, charcoal, charcoal gray, charcoal grey, slate, slate gray, slate grey, silver gray, silver grey, ash gray, ash grey,
steel gray, steel grey, grayish, greyish, graphite, gunmetal, heather gray, heather grey, stone gray, stone grey, dove gray, dove grey,
silvery, ash, pewter, gunmetal gray, gunmetal grey, heathered gray, heathered grey, marled gray, marled grey, smoky gray, anthracite,
blue gray, blue grey
""",
    "brown": """
brown, tan, beige, khaki, camel, chocolate, chocolate brown, taupe, caramel, coffee brown, mocha, chestnut, sand colored, sandy, nude,
brownish, coffee colored, hazel, fawn, tawny, umber, sepia, tan brown, reddish brown, tan colored, walnut, cognac, cocoa, camel colored,
beige colored, khaki colored, russet, mahogany, chestnut brown, oatmeal, sandstone, biscuit, toffee, espresso, bronze, buff, dark khaki,
coffee, cinnamon, khaki brown, beige brown, golden brown, sand coloured
""",
    "pink": """
pink, hot pink, baby pink, light pink, rose pink, salmon pink, blush pink, blush, fuchsia, magenta, dusty pink, pale pink, pinkish,
bubblegum pink, neon pink, dusty rose, rose colored, rosy, rose gold, pastel pink, fuchsia pink, powder pink, shocking pink, coral pink,
candy pink
""",
    "orange": """
orange, burnt orange, bright orange, tangerine, rust orange, neon orange, pumpkin, safety orange, pumpkin orange
""",
    "other": """
teal, turquoise, aqua, cyan, peach, coral, salmon, apricot, rust, copper, turquoise blue, blue green, bluish green, aquamarine,
terracotta, rust colored, mint blue, peach colored, greenish blue, aqua green, yellow green, yellowish green, lime yellow, red orange,
coral red, salmon colored, blue purple, teal colored, peachy, copper colored, rusty
""",
}

# Shades that only narrow the colour after them: "navy blue" is one colour, "black white" are two.
SHADES = """
navy olive mint lime khaki cream ivory silver charcoal slate mustard gold golden burgundy wine maroon crimson teal aqua rust coral
salmon emerald forest sage jade lavender violet plum lilac cobalt indigo azure chocolate coffee camel tan sandy ash graphite gunmetal
reddish bluish greenish yellowish purplish pinkish grayish greyish brownish blackish whitish lemon amber rusty peach apricot copper rosy
blush periwinkle turquoise cyan magenta fuchsia beige caramel taupe milky pearl bronze
"""

# What is said of colours and garments without being a colour.
QUALIFIERS = """
dark, light, bright, pale, deep, pastel, neon, vivid, faded, muted, soft, rich, dusty, washed, medium, solid, plain, shades of, shade
of, tones of, tone of, hues of, hue of, very dark, very light, fluorescent, vibrant, dull, stark, crisp, warm, cool, mostly,
predominantly, primarily, all, entirely, completely, head to toe, electric, burnt, metallic, glossy, subtle, brilliant, bold, matte
"""
MODIFIERS = """
long short big small large little tiny huge tall slim thin thick heavy fat chubby skinny loose tight fitted baggy oversized wide narrow
flowing flowy fluffy puffy cozy comfortable casual formal elegant stylish fashionable trendy modern classic vintage retro traditional
sporty athletic nice beautiful pretty cute handsome old new young elderly older younger middle aged worn torn ripped distressed frayed
wrinkled clean dirty wet dry shiny sparkly sparkling glittery sheer transparent opaque silky leather suede denim cotton linen wool
woolen woollen silk satin velvet knit knitted knitting cashmere fleece fur furry faux nylon polyester spandex corduroy tweed flannel
mesh chiffon tulle canvas plastic rubber wooden metal straw woven wicker quilted padded puffer hooded zipped unzipped zippered buttoned
unbuttoned open closed striped stripe checkered checked plaid tartan floral flowered flowery patterned printed polka dot dotted spotted
camo dyed paisley argyle geometric graphic embroidered beaded sequined sequin pleated ruffled layered tiered asymmetrical cropped crop
high waisted low length full midi mini maxi micro plunging strapless sleeveless backless one v necked scoop round halter collared
collarless belted tailored double breasted single fit relaxed straight legged flared bootcut boot bell bottomed cargo stretch stretchy
waterproof windproof warm lightweight heavyweight thermal insulated protective reflective hi vis tactical military army work working
nursing medical surgical sports sport running jogging training workout yoga cycling hiking golf tennis basketball baseball football
soccer hockey ski skiing snow swimming swim riding motorcycle racing fishing hunting western aviator varsity letterman bomber trench pea
moto cowl chef's men's women's ladies' children's black haired brown red blonde blond brunette auburn ginger curly wavy spiky messy neat
sleek slicked combed tousled windblown wind blown tied pulled parted bleached highlighted frizzy shaggy natural unkempt damp platinum
salt pepper bald bearded smiling happy sad serious angry attractive pregnant muscular slender petite stout overweight homeless blind
lone lonely solitary unidentified unknown caucasian asian african american european indian chinese japanese korean latino hispanic arab
muslim amish tattooed barefoot shirtless topless naked nude bare covered half left right upper lower top bottom inner outer same
different matching coordinating similar simple basic regular normal ordinary typical standard average unique special fancy luxurious
expensive cheap designer chunky platform strappy pointed pointy heeled flat steel buckled studded colored coloured color colour hued
toned tinted multicolored multicoloured multi colorful colourful rainbow two tone tri contrasting monochrome monochromatic dark light
bright brightly reversible detachable removable adjustable strap spaghetti strapped embellished decorated adorned trimmed lined ribbed
cable knotted draped gathered ruched smocked cinched fringed tasseled scalloped rolled cuffed turned tucked untucked folded crossed
stacked snug form fitting formfitting figure hugging body close bodycon sweeping billowing voluminous structured chic sharp
sophisticated smart preppy bohemian boho gothic grungy edgy rugged sturdy practical delicate dainty sassy playful whimsical quirky
ethereal romantic feminine masculine classy modest conservative revealing sexy daring striking eye catching statement iconic signature
flattering intricate ornate elaborate understated minimalist polished well perfectly weathered sized medium brimmed broad backward
backwards sideways upside reverse reversed tilted forward patent crocheted crochet fishnet shearling sherpa teddy borg rattan hemp jute
terry terrycloth white gray grey silver fair golden pink blue green purple skinned toothed confident focused cheerful stylishly
elegantly casually neatly professional amateur rural urban busy crowded empty quiet sunny cloudy rainy snowy foggy dusty rocky sandy
grassy leafy concrete stone brick marble tiled paved cobblestone cobbled glass nearby distant parked moving overhead visible partially
slightly fairly ultra extra pure semi mostly blend drop empire skater bubble peasant cap sleeved puff ballet peter pan cold kimono style
oversize boxy waffle raglan henley hawaiian tropical ethnic tribal aztec nautical houndstooth herringbone gingham windowpane pinstriped
pin vertical horizontal diagonal snakeskin crocodile python abstract marled heathered heather speckled stained splattered acid washed
stonewashed raw hem ombre gradient camouflage left right front back mid leopard zebra
"""
MODIFIER_PHRASES = """
middle aged, one piece, two piece, three piece, see through, zip up, zipped up, button up, button down, polka dot, polka dotted, leopard
print, zebra print, animal print, tie dye, tie dyed, high waisted, high waist, low waisted, low rise, high rise, mid rise, mid length,
knee length, calf length, ankle length, floor length, full length, thigh length, waist length, shoulder length, hip length, chin length,
elbow length, medium length, mid back length, neck length, ear length, knee high, thigh high, ankle high, low cut, high cut, off
shoulder, off the shoulder, one shoulder, v neck, v necked, crew neck, crew necked, scoop neck, round neck, halter neck, high neck, high
necked, mock neck, turtle necked, double breasted, single breasted, slim fit, slim fitting, relaxed fit, straight leg, straight legged,
wide leg, wide legged, boot cut, high visibility, hi vis, high vis, black haired, brown haired, red haired, slicked back, combed back,
wind blown, tied up, tied back, pulled back, open toe, open toed, closed toe, peep toe, high heeled, steel toed, lace up, slip on, multi
colored, multi coloured, two tone, two toned, tri color, dark colored, light colored, dark coloured, light coloured, bright colored,
brightly colored, brightly coloured, spaghetti strap, fur lined, fleece lined, fur trimmed, lace trimmed, cable knit, cable knitted,
rolled up, turned up, tucked in, form fitting, figure hugging, body hugging, close fitting, eye catching, well worn, well fitted, well
tailored, mid thigh, above knee, below knee, medium sized, wide brimmed, broad brimmed, large brimmed, floppy brimmed, white haired,
gray haired, grey haired, silver haired, dark haired, light haired, fair haired, curly haired, golden haired, pink haired, blue haired,
green haired, purple haired, blue eyed, brown eyed, green eyed, blonde haired, blond haired, button front, zip front, drop waist, empire
waist, a line, puff sleeved, bell sleeved, tie front, peter pan, cold shoulder, waffle knit, chunky knit, acid wash, acid washed, stone
washed, light wash, dark wash, medium wash, light washed, dark washed, raw hem, salt and pepper, calf high, mid calf, heavy duty, high
top, high tops, low top, stiff brimmed, faux fur, faux leather, close cropped, closely cropped, wide cut, loose fitting, tight fitting,
loosely fitted, half zip, quarter zip, full zip, side swept, long legged, ankle cropped, bare legged, snow covered, tree lined, graffiti
covered, dinosaur shaped, star shaped, heart shaped, wind swept, thick soled, thin soled, half up, half tied, open front, red soled,
white soled, pink soled, half sleeve d, grey toned
"""

# Names with a colour in them; and nouns that make a name of a colour before them.
NAMES = """
green day, brown university, red bull, black sabbath, black flag, pink floyd, black keys, red hot chili peppers, black
eyed peas, white snake, blue jays, red sox, white sox, red wings, blue jackets, black hawks, golden state, golden state warriors, golden
knights, golden gate, golden retriever, golden hour, green bay, green bay packers, cleveland browns, the browns, orange county, red
cross, blue cross, black panther, black panthers, black lives matter, green lantern, green arrow, white castle, black friday, green
peace, greenpeace, black and decker, blue devils, crimson tide, syracuse orange, texas orange, new jersey, silver surfer, silver lake,
white house, red square, red lobster, red robin, blue note, blue moon, green giant, purple heart, purple rain, black ops, blackberry,
black veil brides, red devils, all blacks, golden bears, scarlet knights, yellow cab, yellow submarine, yellow pages, whitewater, white
water, blue whale, green tea, black coffee, white wine, red wine, gold medal, gold coast, white zombie, red dragon, code pink, pink
panther, goldman sachs, silverstone, yellowstone, black mirror, green card, blue ivy, white christmas, black swan, white claw, red dead
redemption, red arrows, dr pepper, green hornet, green goblin, red baron, black widow, black adam, brown bear, black bear, white tiger,
grey goose, old navy, banana republic, deep blue sea, coldplay blue
"""
NAME_ENDS = """
university college state academy institute brewery airlines
"""

# Verbs: of wearing, of holding, of looking at or selling, what is then not worn, of being, of having; and the rest, by their base.
WEAR = """
wear wears wearing wore worn dressed clad sporting sports donning dons donned dresses attired outfitted models modeling clothed rocking
rocks features featuring includes consists comprises combines pairs pairing paired matches layered layering styled completes
complemented adorned accessorized accessorizes wrapped bundled garbed decked suited
"""
CARRY = """
hold holds holding held carry carries carrying carried clutching clutches clutched grip grips gripping gripped grasping grasps grasp
drag drags dragging lift lifts lifting wave waves waving fold folds folding throw throws throwing swinging offering handing tossing
shaking toss tosses swing swings raises raising removes removing remove bringing brings cradling cradles lugging lugs hauling
"""
LOOK = """
iron irons ironing wash washes washing sell sells selling buy buys buying choose choosing chooses browse browses browsing admire admires
admiring examine examines examining inspect inspects inspecting photographing painting sewing sews knitting mending displays displaying
sorting packing unpacking drawing delivering seeing sees watching watches eyeing studies studying touching touches
"""
CARRY_PHRASES = """
taking off, takes off, took off, picking up, picks up, picked up, holding up, holds up, folding up, taken off
"""
LOOK_PHRASES = """
looking at, looks at, look at, shopping for, reaching for, reaches for, pointing at, points at, points to, pointing to, staring at,
gazing at, hanging up, hangs up, searching for, stares at, gazes at, waiting for, asks for, talks about, talking about, thinking of,
full of, filled with, decorated with, covered with, lined with, surrounded by, trying to sell, made of
"""
BE = """
is are was were be been being looks appears seems am remains stays
"""
HAVE = """
has have having had
"""
VERBS = """
walk stand sit lean run jog pose smile look talk speak laugh cry sing dance jump climb ride drive cross enter leave exit wait rest lie
kneel crouch squat bend stretch reach point gesture play read write eat drink cook clean sweep dig push pull cut kick catch hit swim
surf ski skate cycle pedal hike march stroll wander stride saunter hurry rush race sprint step move turn face stare gaze glance watch
listen hear see check use text type call dial shop pay order serve work study teach learn train exercise practice perform act appear
seem become get go come arrive return stay remain keep start stop begin end continue try attempt make do take bring put set place lay
raise lower open close touch feel hug kiss embrace greet meet join follow lead guide help assist support protect guard chase escape fall
rise fly float hover sail row paddle fish hunt shoot aim fight box wrestle bounce balance spin twirl swing sway nod shake bow clap cheer
celebrate enjoy relax sleep nap dream think wonder ponder contemplate focus concentrate observe explore discover travel visit tour
photograph film record capture depict show feature portray reveal suggest indicate add give offer create complete finish complement
accentuate match contrast blend extend hang dangle drape flow cascade peek reflect shimmer glint shine glow sparkle gleam brush graze
skim blur fade fill cover obscure line surround frame flank dot trot bark wag roll blow flutter billow ripple drift fasten strap tie
tuck button zip loop sling wrap fold gather style comb braid pin clip shave trim adjust fix straighten hide block shield emerge loom
tower lounge perch lurk linger pause prepare wash water feed pet stroke ring knock tap press cast pass approach near head await
accompany belong contain hold tell ask answer explain discuss chat whisper shout yell scream argue complain need want like love hate
prefer choose grin frown scowl wink blink squint peer gawk sniff taste lick bite chew swallow breathe sigh yawn sneeze cough sweat
shiver tremble stumble trip slip slide crawl creep sneak tiptoe leap hop skip vault dive plunge splash wade slouch hunch recline
straddle mount dismount board disembark park lock unlock load unload haul tug tow steer navigate commute skateboard rollerblade
snowboard juggle strum drum conduct compose rehearse draw paint sketch sculpt carve weave crochet stitch measure weigh count sort
arrange organize decorate build construct repair weld saw nail screw drill plant mow prune harvest pick peel slice chop stir pour bake
grill fry shovel plow rake hose scrub polish dust vacuum mop wipe rinse dry hum whistle wave pray meditate worship exist depart proceed
advance retreat circle orbit traverse browse scroll swipe stream tackle dribble dunk pitch bat bowl volley putt tee jab punch lunge
plank emphasize highlight convey exude evoke showcase provide lend hint out round top anchor ground elevate offset accent bear sport
boast possess display exhibit present model amble trudge trek plod pace roam loiter idle huddle lounges busy project cling brushes pools
swirls dominate illuminate light bathe soak filter twinkle flicker beam radiate scatter litter strew bloom blossom sprout grow stack
pile heap spill leak drip trickle gush burst explode erupt crash collide
"""
IRREGULAR_FORMS = """
slung hung thrown clung flung strung dug spread shed split stuck wrung fought sought wove spoke broke froze chose hid hidden rung sang
sung blew grew knew threw woke worn torn sewn hewn mown bit bitten beaten bet dealt fled fed lent lost paid sent slept smelt spent spelt
split swore sworn swollen thought understood wept won sat stood ran rode drove wrote read ate drank swam flew fell rose threw caught hit
cut put set laid lay led left met made took brought gave went came began got kept slept felt held bent swept seen shown drawn taken
given driven ridden eaten gone come become done built taught bought sold told said shot spun swung hung lit slid wound bound tied lying
tying dying running sitting getting putting cutting hitting swimming jogging stopping stepping skipping hopping clapping chatting
shopping wrapping wrapped strapped slipped zipped unzipped buttoned tucked gathered planted placed located situated positioned seated
standing engaged focused parked against captured pictured depicted photographed cast cropped framed can could will would may might must
should shall does do did doing let lets seem seems being
"""

# Prepositions: of layers, of places, and those that mean "with" and "in".
LAYER = """
over under underneath beneath below above atop on onto upon around across against into from to inside through within between along about
toward towards up down off out after before during until since
"""
LAYER_PHRASES = """
on top of, top of, over top of, covered by, hidden by, protected by, tied by, tied with, secured by, secured with, held by, cinched by,
shaded by, framed by, cinched with, cinched at
"""
LOCATIVE = """
behind beside besides near past by alongside opposite among amid amongst at outside beyond for like via aboard facing
"""
LOCATIVE_PHRASES = """
next to, in front of, close to, across from, on the side of, at the side of, in the middle of, in the midst of, outside of, ahead of,
away from, at the edge of, in back of, to the left of, to the right of, on the edge of, at the top of, at the bottom of, top of, near
to, adjacent to, followed by, accompanied by, on the other side of, underneath of, because of, due to, instead of the, in the
background, in the foreground, in the distance
"""
WITH = """
with plus including besides
"""
WITH_PHRASES = """
along with, together with, as well as, paired with, teamed with, complete with, coupled with, matched with, in addition to, combined
with, accented by, complemented by, topped with, topped by, finished with, styled with, worn with, adorned with, accessorized with
"""
IN_PHRASES = """
dressed in, clad in, wrapped in, attired in, outfitted in, decked out in, dressed up in, clothed in, all in, completely in, entirely in,
dressed entirely in, dressed completely in, dressed all in, garbed in, bundled up in, bundled in, head to toe in, dressed head to toe
in, decked in, covered in
"""

# What joins, relates, denies and restricts.
AND = """
and or nor & / plus yet
"""
RELATIVE = """
who which that whom where
"""
SUBORDINATE = """
while as when whilst because since although though whereas if then
"""
NEGATION = """
no not without never neither lacks lacking lack sans cannot isn't aren't wasn't weren't doesn't don't didn't hasn't haven't hadn't won't
can't couldn't wouldn't isnt doesnt hasnt dont ain't none minus
"""
NEGATION_PHRASES = """
instead of, rather than, free of, devoid of, bare of, not any
"""
NO_NEGATION = """
not only, no longer, no one, no doubt, not just, not far, no matter, nothing, if not, not yet, not quite, not too, whether or not
"""
RESTRICT = """
only but just instead except rather simply however
"""
ADVERBS = """
also very really too quite entirely completely fully all both together apart away here there outside outdoors indoors downtown straight
ahead forward backward sideways directly slowly quickly carefully gently softly loosely tightly neatly casually elegantly stylishly
simply mainly mostly well even still again now then today once twice just almost nearly about around somewhat slightly partly partially
perhaps maybe probably possibly likely perfectly brightly darkly lightly deeply diagonally
"""
