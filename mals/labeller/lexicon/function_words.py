"""Verbs and function words of the lexicon: determiners, pronouns, prepositions, conjunctions, negations and adverbs."""

# Words before a noun; "a pair of trousers" counts as "trousers", and so does "a black pair of trousers".
DETERMINERS = """
a, an, the, this, that, these, those, some, any, each, every, another, both, several, many, few, various, multiple, one, two, three,
four, five, six, its, whose, their, my, your, our, bit of, color of, colour of, lots of, lot of, plenty of, combination of, mix of,
couple of, layers of, layer of, variety of, number of, middle of, small of
"""
PARTITIVES = """
pair of, pairs of, set of, sets of, kind of, type of, piece of, pieces of, sort of, style of, ensemble of, outfit of
"""
INDEFINITE_DETERMINERS = """
a an another some any each every one two three four five six several many few various multiple a
"""

POSSESSIVES = """
his, her, their, whose, its, my, your, our, his or her, her or his, his / her, her / his, his or hers, his and her
"""
SUBJECT_PRONOUNS = """
he, she, they, he or she, she or he, he / she, she / he, s / he, ( s ) he, she ( he ), he ( she )
"""
OBJECT_PRONOUNS = """
it, him, hers, herself, himself, them, theirs, themself, themselves, him or her, her or him, him / her, himself or herself
"""

# "sports shoes" but "she sports a cap", "models of cars" but "he models a coat".
MODIFIERS_OR_WEARING = "sports models"

# Function words and verbs whose typing errors are mended.
OFTEN_MISSPELLED = """
with without and the his her has have wearing wears dressed carrying carries holding holds while walking standing
"""

# Verbs of wearing, of holding, of looking at or selling (their object is not worn), of being and of having.
WEARING = """
wear wears wearing wore worn dressed clad sporting sports donning dons donned dresses attired outfitted models modeling clothed rocking
rocks features featuring includes consists comprises combines pairs pairing paired matches layered layering styled completes
complemented adorned accessorized accessorizes wrapped bundled garbed decked suited weared weard
"""
HOLDING = """
hold holds holding held carry carries carrying carried clutching clutches clutched grip grips gripping gripped grasping grasps grasp
drag drags dragging lift lifts lifting wave waves waving fold folds folding throw throws throwing swinging offering handing tossing
shaking toss tosses swing swings raises raising removes removing remove bringing brings cradling cradles lugging lugs hauling
"""
LOOKING = """
iron irons ironing wash washes washing sell sells selling buy buys buying choose choosing chooses browse browses browsing admire admires
admiring examine examines examining inspect inspects inspecting photographing painting sewing sews knitting mending displays displaying
sorting packing unpacking drawing delivering seeing sees watching watches eyeing studies studying touching touches
"""
HOLDING_PHRASES = """
taking off, takes off, took off, picking up, picks up, picked up, holding up, holds up, folding up, taken off
"""
LOOKING_PHRASES = """
talking to, talks to, speaking to, speaks to, chatting to, listening to, listens to, waving at, waves at, waving to, waves to,
looking at, looks at, look at, shopping for, reaching for, reaches for, pointing at, points at, points to, pointing to, staring at,
gazing at, hanging up, hangs up, searching for, stares at, gazes at, waiting for, asks for, talks about, talking about, thinking of,
full of, filled with, decorated with, covered with, lined with, surrounded by, trying to sell, made of
"""
BEING = """
is are was were be been being looks appears seems am remains stays
"""
BEING_PHRASES = """
looks like, look like, looked like, appears like, seems like, looks to be
"""
HAVING = """
has have having had got
"""

# All other verbs by their base form, and irregular forms.
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
IRREGULAR_VERB_FORMS = """
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

# Prepositions of path and position on something, of the place beside something, and those that mean "with" and "dressed in".
PATH_PREPOSITIONS = """
over under underneath beneath below above atop on onto upon around across against into from to inside through within between along about
toward towards up down off out after before during until since
"""
PATH_PHRASES = """
on top of, over top of, covered by, hidden by, protected by, tied by, tied with, secured by, secured with, held by, cinched by,
shaded by, framed by, cinched with, cinched at
"""
PLACE_PREPOSITIONS = """
behind beside besides near past by alongside opposite among amid amongst at outside beyond for like via aboard facing
"""
PLACE_PHRASES = """
next to, in front of, close to, across from, on the side of, at the side of, in the middle of, in the midst of, outside of, ahead of,
away from, at the edge of, in back of, to the left of, to the right of, on the edge of, at the top of, at the bottom of, near
to, adjacent to, followed by, accompanied by, on the other side of, underneath of, instead of the, in the
background, in the foreground, in the distance
"""
WITH = """
with plus including besides
"""
WITH_PHRASES = """
along with, together with, as well as, paired with, teamed with, complete with, coupled with, matched with, in addition to, combined with,
accented by, because of, due to, except for, apart from, aside from, complemented by, topped with, topped by, finished with, styled with,
worn with, adorned with, accessorized with
"""
DRESSED_IN_PHRASES = """
dressed in, clad in, wrapped in, attired in, outfitted in, decked out in, dressed up in, clothed in, all in, completely in, entirely in,
dressed entirely in, dressed completely in, dressed all in, garbed in, bundled up in, bundled in, head to toe in, dressed head to toe
in, decked in, covered in
"""

# Words that join, relate, negate ("not only" does not) and restrict.
CONJUNCTIONS = """
and or nor & / plus yet
"""
RELATIVE_PRONOUNS = """
who which that whom where
"""
SUBORDINATORS = """
while as when whilst because since although though whereas if then
"""
NEGATIONS = """
no not without never neither lacks lacking lack sans cannot isn't aren't wasn't weren't doesn't don't didn't hasn't haven't hadn't won't
can't couldn't wouldn't isnt doesnt hasnt dont ain't none minus
"""
NEGATION_PHRASES = """
instead of, rather than, free of, devoid of, bare of, not any
"""
FALSE_NEGATIONS = """
not only, no longer, no one, no doubt, not just, not far, no matter, nothing, if not, not yet, not quite, not too, whether or not
"""
ADVERB_PHRASES = """
on the outside, on the inside, on the whole, so is, so are, as is, as are, what looks like, what look like, what looks to be, what appears
to be, what appear to be, what seems to be, what seem to be, what seems like, as well, at all, of course, at the moment, in general
"""
RESTRICTIONS = """
only but just instead except rather simply however
"""

ADVERBS = """
also very really too quite entirely completely fully all both together apart away here there outside outdoors indoors downtown straight
ahead forward backward sideways directly slowly quickly carefully gently softly loosely tightly neatly casually elegantly stylishly
simply mainly mostly well even still again now then today once twice just almost nearly about around somewhat slightly partly partially
perhaps maybe probably possibly likely perfectly brightly darkly lightly deeply diagonally
"""
