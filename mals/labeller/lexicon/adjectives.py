"""Adjectives of the lexicon: colours, words that refine colours, other modifiers, and proper names that contain a colour."""

# Colour -> its words; "other" are colours outside these families.
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

# Shades that only refine a colour after them: "navy blue" is one colour, "black white" are two.
SHADES = """
navy olive mint lime khaki cream ivory silver charcoal slate mustard gold golden burgundy wine maroon crimson teal aqua rust coral
salmon emerald forest sage jade lavender violet plum lilac cobalt indigo azure chocolate coffee camel tan sandy ash graphite gunmetal
reddish bluish greenish yellowish purplish pinkish grayish greyish brownish blackish whitish lemon amber rusty peach apricot copper rosy
blush periwinkle turquoise cyan magenta fuchsia beige caramel taupe milky pearl bronze
"""

# Adjectives whose typing errors are mended.
OFTEN_MISSPELLED = """
black white red blue green gray grey brown purple yellow pink orange beige khaki navy maroon violet lavender burgundy turquoise silver
golden short long sleeve sleeves sleeved sleeveless striped stripe stripes colored coloured haired bald elderly teenage young dark light
plaid floral denim leather checkered
"""
# Words that make an adjective of the noun before them: "a sun-protective jacket".
COMPOUND_ENDINGS = """
style styled type protective protection proof resistant repellent inspired themed patterned shaped wicking lined trimmed
"""
COLOR_NOUNS = """
color colour colors colours hue hues tint tone
"""

# Adjectives that only clothes of the upper body have, and that some write without the noun: "a black hooded".
UPPER_ADJECTIVES = """
crop, cropped, hooded, collared, zip up, zipped up, full zip, button front, v necked, crew necked, round neck, high neck
"""

# Words that describe a colour or a garment and are no colour.
QUALIFIERS = """
dark, light, bright, pale, deep, pastel, neon, vivid, faded, muted, soft, rich, dusty, washed, medium, solid, plain, shades of, shade
of, tones of, tone of, hues of, hue of, very dark, very light, fluorescent, vibrant, dull, stark, crisp, warm, cool, mostly,
predominantly, primarily, all, entirely, completely, head to toe, electric, burnt, metallic, glossy, subtle, brilliant, bold, matte
"""
MODIFIERS = """
adidas nike puma vans levis levi asics reebok fila champion converse jordan gucci lacoste dickies supreme
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
sleek slicked combed tousled windblown wind blown tied pulled parted bleached highlighted graying greying thinning grizzled permed
frizzy shaggy natural unkempt damp platinum
salt pepper bald bearded smiling happy sad serious angry attractive pregnant muscular slender petite stout overweight homeless blind
lone lonely solitary unidentified unknown caucasian asian african american european indian chinese japanese korean latino hispanic arab
muslim amish tattooed barefoot shirtless topless naked nude bare covered half left right upper lower top bottom inner outer same
different matching coordinating similar simple basic regular normal ordinary typical standard average unique special fancy luxurious
expensive cheap designer chunky platform strappy pointed pointy heeled flat steel buckled studded colored coloured hued
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
heavily built, strongly built, solidly built, powerfully built, lightly built, slightly built, well built,
college aged, college age, working aged, working age, middle aged, one piece, two piece, three piece, see through, zip up, zipped up,
button up, button down, polka dot, polka dotted, leopard print, zebra print, animal print, tie dye, tie dyed, high waisted, high waist, low
waisted, low rise, high rise, mid rise, mid length, knee length, calf length, ankle length, floor length, full length, thigh length, waist
length, shoulder length, hip length, chin length, elbow length, medium length, mid back length, neck length, ear length, knee high, thigh
high, ankle high, low cut, high cut, off shoulder, off the shoulder, one shoulder, v neck, v necked, crew neck, crew necked, scoop neck,
round neck, halter neck, high neck, high necked, mock neck, turtle necked, double breasted, single breasted, slim fit, slim fitting,
relaxed fit, straight leg, straight legged, wide leg, wide legged, boot cut, high visibility, hi vis, high vis, black haired, brown haired,
red haired, slicked back, combed back, wind blown, tied up, tied back, pulled back, open toe, open toed, closed toe, peep toe, high heeled,
steel toed, lace up, slip on, multi colored, multi coloured, two tone, two toned, tri color, dark colored, light colored, dark coloured,
light coloured, bright colored, brightly colored, brightly coloured, spaghetti strap, fur lined, fleece lined, fur trimmed, lace trimmed,
cable knit, cable knitted, rolled up, turned up, tucked in, form fitting, figure hugging, body hugging, close fitting, eye catching, well
worn, well fitted, well tailored, mid thigh, above knee, below knee, medium sized, wide brimmed, broad brimmed, large brimmed, floppy
brimmed, white haired, gray haired, grey haired, silver haired, dark haired, light haired, fair haired, curly haired, golden haired, pink
haired, blue haired, green haired, purple haired, blue eyed, brown eyed, green eyed, blonde haired, blond haired, button front, zip front,
drop waist, empire waist, a line, puff sleeved, bell sleeved, tie front, peter pan, cold shoulder, waffle knit, chunky knit, acid wash,
acid washed, stone washed, light wash, dark wash, medium wash, light washed, dark washed, raw hem, salt and pepper, calf high, mid calf,
heavy duty, stiff brimmed, faux fur, faux leather, close cropped, closely cropped, wide cut, loose fitting, tight fitting, loosely fitted,
half zip, quarter zip, full zip, side swept, long legged, ankle cropped, bare legged, snow covered, tree lined, graffiti covered, dinosaur
shaped, star shaped, heart shaped, wind swept, thick soled, thin soled, half up, half tied, open front, red soled, white soled, pink soled,
half sleeve d, grey toned
"""

# Words that the lists of verbs and body parts also have, but that describe a noun far more often: "the left hand", "a work shirt".
MODIFIERS_NOT_NOUNS = "left right open close back front stretch swim work military"

# Adjectives that mark a person as not the subject: "another man".
BYSTANDER_ADJECTIVES = """
another other others second third next fellow nearby passing neighboring opposite different additional
"""

# Proper names that contain a colour; and nouns that form a proper name with the colour before them.
PROPER_NAMES = """
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
PROPER_NAME_ENDINGS = """
university college state academy institute brewery airlines
"""
