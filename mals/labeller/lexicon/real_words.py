"""English words that are one edit from a word whose typing errors are mended, and that are no typing errors themselves."""

REAL_WORDS = """
aders adies ahs aired alight alter amour ants armory awhile babs bad bale bays beans bearer bearers beaver beavers begging bermuda bernie
better biking blackfish blank blaze bolts bombed boomers boost boosts bots bowers brad brain brains brand brands bray breaches brief
buffer bumper buster busters carriers catan cest chaired childs chill chino classes clocks cloth cost cot cpa cress curse dar dari deans
denies doubled doubles drown eater eaters eight fatigue fears feather fest flora foodies fray frey gary gay gearing gery gest gey gil
giles giro glue goldfish golds goodies grange greed greek greens greer greg gress gurl hailed hater haters hatred heater heer hells herr
hired hoes holden holdings holes hols jacked jan jans kale lacy lant lants lazer leonard leopards ling link log logging lolo mae mal mals
mann marion marries marrying mean means mellow mersey mocks molding nair nay olds oman omen oranges packet packets pang pans panties panto
pany parts pat pats pears persona pints plight polk poll pong poo pulse puree purge pursue raid raids range rants reed rhinos rights roman
roots sacks saries scandals scar scare scars scary sears seats shelly shies shift shifts shire shocks shore shorty sight sights singles
sith skit slight smells snickers spells standings stocks strife strike strikes stripped strive strong suffer suffers swearing sweaty
sweeter sweets tearing tears tholes tonics tray trey violent violets waking walter walters wars weary weather whites whole wight wit
wrench years
"""
