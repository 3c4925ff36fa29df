"""English words that are one edit from a word whose typing errors are mended, and that are no typing errors themselves."""

REAL_WORDS = """
abay aders adies ahs aired alight alter amis amor amour ants apes arbor argos armory awhile babs bad bale banks baya bays beans bearer
bearers beaver beavers begging bermuda bernie better biking blackfish blank blaze bolts bombed boomers boost boosts bots bowers brad brain
brains brand brands bray breaches brock buffer bumper buster busters cages camps cams cares carlos carriers catan cellar cest chaired
champs chaos chas childs chill chino chords classes clock clocks cloth coasts coates colts cord cores corps cost costs cot cpa cress curse
dar dari deans denies denis dollar doubled doubles drown eater eaters eight fail fatigue feather fest filet flock flora foodies fords fray
frey gail gary gay gearing gers gery gest gey gil giles gilt giro glue goldfish golds goodies goody goons grabs grange greed greek greens
greer greg gress gurl hailed hanks haps hater haters hatred heater heer hell hells herr hired hoes holden holdings holes hols howdy jacked
jan jans kale kills kurt lacy lant lants lazer lengths lengthy leonard leopards ling link lobes log logging lolo lords mae mal mals mann
marion maris marries marrying mean means mellow mersey mocks molding moody nair nay nests oats olds oman omen oranges owns packet packets
pang pans panties panto pany para paris parma parts pat pats persona pests pints plight polis polk poll polls pong poo ports probes pulse
puree purge pursue quits raid raids rail range ranks rants reed rhinos rights robles roles roman roots scandals scapes scar scare scars
scary seats setup shelly shies shift shifts shill shire shock shocks shore shorty shree shrub sight sights singles sith skell skit slight
smack smell smells snell snickers solos spell spells spock spree standings stock stocks stree strife strike strikes stripped strive strong
suffer suffers suite suites swearing sweaty sweeter sweets swell tai tal tali tans tapes tasks tearing tests thanks thole tholes til
titus tobe todas tomas tonic tonics tray trey trock units vents verts violent violets waking walter walters wars weary weather whites
whole wight wit woody words wrench
"""
