"""English words that are one edit from a word whose typing errors are mended, and that are no typing errors themselves."""

REAL_WORDS = """
abaca abay abraid aders adies ahs aired alack alter amberfish amis amor amour ants apes arbor ardor argos armory attirer awhile babs bad
bale balter banks barong baya bays beaker beans bearer bearers beaver beavers begging bellow bermuda bernie better bight biking birl
blackfish blamer blank blaze bleater bleck blet blight bloomer bloomery bluefish bobber bodiced bolden bolts bombed boomers boost boosts
bootes booty bots bouse bowers brack brad brail brain brains brand brands brawn bray brazer breaches breeched brock browny buffer bumper
bursa burse buster busters bustler cages calking camps cams camus canis capel caper capra capric caprid cares caries cark carlos carriers
catan cellar cest chaired champs chaos chape chas chaus childe childs chill chino chords clack classes cloche clock clocks clote cloth
coak coasts coates coati collard colts comber cord cordy cores cornet corps corse cosset cost costs costumer cot cpa craps cress croak
crock curse cypris dar dari deans denies denis dight doat dollar doubled doubler doubles drench dressy dross drown duffer dumper dungaree
duress earing eater eaters eight fail falter fatigue fearing feather fest filet fleeced fleecer fleecy flock flora floran floreal foodies
foody foots fords fray freck frey gail gapes gary gay gearing gelt gers gest giblet giblets giglet gil gilden giles gilt gimlet giro
glassed glassen glazer glue goldfish goldin golding golds goodies goody goons grabs grange greed greek greenfish greens greer greg gress
grouser guffer gulden gurl hafter hailed hairen halfer halteres hanks haps hassock hatchel hater haters hatred hatter heater heer hell
hells helmed herr hight hilding hired hiss hoddy hoes holden holdings holes holing hols hooky howdy jacked jadish jan jans kale kersey
kills kinglet knicker kurt lacy lagging lant lants lasses lather lazer leathern leathery lengths lengthy leonard leopards letup ling link
loather lobes log logging lolo longboat loral lords louse lumper mae mal mals mann marion maris marries marron marrying mean means mellow
mersey mocks molding moody mumper nair nave navvy nay nests oats olden olds oman omber omen oranges orangey outsit outwit overfall
overskirt owns packet packets palter pang pans panties panto pany para paris parky parma parse parson parts pat pats pegging peplus perron
persona pests pints placid plack plaud plight polis polk poll polls pong poo ports preen probes puffery pulse pumper punic puree purfle
purge purre purser pursue pursy quits raid raids rail range ranks rants ratchel redfish reed replum rhinos ribes rights ringlet robles
roles roman roots roper rouser runic salter salver sark sarment saros scandals scapes scar scare scarfs scarn scarp scars scary scree
scurf seats setup shaps sheal sheld shelly sheol shies shift shifts shill shire shirk shirks shirl shirr shoat shock shocks shod shoer
shore shorn shortish shorty shrag shree shrub shug sight sights siller silverfish silvern singles sith siver skell skirl skirr skit skout
slicks slight sliver slock smack smell smells snell snickers sollar solos solver somber soree spell spells spock spree sprong sprug
standings steeper steeve stell stipe stipes stock stocks stree strife striges strike strikes stripped strive strived strong suffer suffers
suist suite suites swarf swearer swearing sweaty sweeper sweeter sweets swell swelter tacket tai tal tali tamis tanka tans tapes tasks
tearing tench tests thanks therial thermae thole tholes til tips tirl titus tobe todas togs toman tomas tonic tonics tope topps tos touser
tray trencher tressed trey tripe trock trunch unciform underplant underskirt undress unitary units vents verts vesta violent violets wader
waking waling walling walter walters wars weary weather whilk whist whitefish whiten whiter whites whort wight wile winglet wit woody
words wrench yellowfish yellows
"""
