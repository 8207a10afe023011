"""Words of the topics, the frequent ones first: (nouns, verbs, adjectives, places, roles)."""

TOPIC_WORDS = {
    "kitchen": (
        "pan kettle oven spoon bowl loaf soup sauce pie apron jug grater tray cake recipe stove "
        "ladle whisk skillet teapot dough gravy pudding crumb napkin saucer platter jar sieve "
        "mixer freezer toaster pastry marinade salad stew broth glaze filling crust",
        "wash warm cover taste stir order pack serve bake chop fry season peel slice roast freeze "
        "rinse drain melt knead",
        "heavy creamy crisp sweet salty copper shallow fresh spicy tender thick buttery golden "
        "bitter smoky frozen crunchy tangy hearty homemade nonstick ripe",
        "the stove, the pantry, the counter, the back kitchen, the bakery, the sink, "
        "the dining room, the fridge",
        "cook baker guest waiter customer chef host caterer dishwasher",
    ),
    "garden": (
        "rake hedge shed seed bulb fence lawn pot hose basket ladder spade bench path pond trellis "
        "sprinkler trowel mower seedling planter compost shrub flowerbed wheelbarrow glove pruner "
        "tarp rosebush fountain herb arbour gate birdbath cutting nettle root slug",
        "plant trim water move paint dig weed shade prune mow mulch sow rake harvest fertilise "
        "transplant shelter uproot thin",
        "leafy muddy wooden sunny early climbing hardy bare tall dwarf mossy rusty fragrant "
        "evergreen overgrown shady sandy potted organic thorny seasonal annual",
        "the greenhouse, the orchard, the vegetable patch, the compost heap, the terrace, "
        "the back yard, the flower bed, the south wall",
        "gardener neighbour nurseryman beginner visitor landscaper grower florist homeowner",
    ),
    "workshop": (
        "drill hammer screw board lamp chair hinge drawer saw glue varnish handle shelf wheel "
        "cable clamp wrench battery bolt washer toolbox plank socket charger bracket nail sander "
        "chisel vice pulley gasket blade ruler motor valve switch adapter stool filter",
        "repair sand measure replace fasten sell polish assemble drill tighten install charge "
        "adjust lubricate weld cut mount test unscrew glue",
        "solid loose cordless oiled cheap sturdy narrow spare brass folding handmade cracked "
        "electric portable waterproof compact adjustable refurbished rugged wireless stainless",
        "the workbench, the garage, the showroom, the tool shop, the warehouse, the basement, "
        "the loading dock, the service desk",
        "carpenter buyer seller mechanic apprentice electrician plumber retailer installer",
    ),
    "harbour": (
        "ferry crane cargo vessel anchor pier container tugboat lighthouse net hull captain dock "
        "cable buoy tanker crew lifeboat trawler wreck cabin mast ramp deck engine flare port "
        "channel beacon radar yacht patrol catch dredger spill storm rudder jetty hatch",
        "inspect tow unload delay search rescue insure block seize repair evacuate board refloat "
        "damage register sink scrap track impound escort",
        "damaged foreign overdue stranded coastal rusting empty registered flooded missing "
        "submerged abandoned uninsured crowded drifting seaworthy leaking commercial chartered",
        "the quay, the outer harbour, the customs house, the shipyard, the breakwater, "
        "the coastguard station, the container terminal, the marina",
        "sailor docker pilot inspector fisherman skipper diver coastguard passenger",
    ),
    "council": (
        "budget vote proposal levy bridge school contract petition inquiry deadline tax report "
        "clinic road motion permit strike election ruling protest pension tender verdict audit "
        "reform bylaw debt subsidy summit ballot coalition lawsuit committee housing grant "
        "airport curfew mandate scandal",
        "approve reject postpone announce defend criticise review fund cancel oppose cut sign "
        "investigate launch amend endorse suspend leak debate withdraw",
        "disputed costly temporary annual secret controversial regional emergency revised public "
        "municipal delayed legal unpopular independent sweeping unanimous federal bitter "
        "preliminary",
        "the town hall, the council chamber, the district court, the ministry, the press room, "
        "the courthouse, the polling station, the city archive",
        "mayor councillor spokesman lawyer resident minister prosecutor campaigner auditor",
    ),
    "sport": (
        "match goal trophy league final coach penalty season referee stadium title race record "
        "medal squad injury contract derby playoff champion defeat corner substitute tournament "
        "sprint relay fixture transfer striker semifinal tackle cup lead draw comeback ban rival "
        "qualifier lap",
        "win lose watch celebrate dominate lead regret miss settle praise dispute secure enter "
        "postpone deserve follow analyse forget seal contest",
        "opening decisive late brilliant narrow unbeaten veteran unexpected crucial disappointing "
        "historic thrilling injured promising dramatic scoreless away undefeated fierce national",
        "the stadium, the training ground, the dressing room, the finish line, the main stand, "
        "the penalty area, the press box, the running track",
        "striker goalkeeper runner captain supporter manager defender sprinter midfielder",
    ),
    "machine": (
        "server file table index query buffer node queue thread cache module log parser socket "
        "batch script token packet kernel branch commit schema vector matrix string pointer stack "
        "handler payload folder config field column record test worker driver plugin build patch",
        "load parse merge delete compress restart copy rename fetch flush compile render encode "
        "commit sort validate deploy patch cache profile",
        "idle broken remote nested sorted cached invalid default frozen parallel stale missing "
        "temporary static async duplicate empty corrupt deprecated local",
        "the cluster, the main branch, the test suite, the root folder, the data centre, "
        "the staging area, the issue tracker, the build server",
        "developer maintainer user admin tester reviewer contributor engineer intern",
    ),
    "school": (
        "lesson exam proof theorem essay pupil chapter equation lecture notebook diagram grade "
        "question library answer sample lemma variable function graph sequence limit integral "
        "set bound estimate dataset corpus parameter gradient experiment hypothesis axiom "
        "corollary quotient metric footnote syllabus seminar fraction",
        "solve explain study prove grade summarise discuss estimate derive compute define "
        "approximate verify plot generalise cite simplify rewrite teach bound",
        "linear finite difficult written weekly simple formal random upper partial convex "
        "bounded discrete continuous empirical sparse optimal trivial rigorous noisy",
        "the classroom, the reading room, the laboratory, the seminar, the lecture hall, "
        "the appendix, the exam hall, the final section",
        "teacher student professor tutor examiner author lecturer researcher reviewer",
    ),
    "market": (
        "invoice crate sack barrel coin price stall order scale discount parcel receipt stock "
        "bundle cart ledger coupon voucher shipment pallet tariff loan account margin quota bill "
        "deposit refund sample fee lot auction wallet cheque payment bargain label tax contract "
        "balance",
        "weigh count deliver label store trade borrow return invoice import refund stack value "
        "auction lend split transfer audit pay ship",
        "unpaid bulk sealed dried imported cheap double gross daily wholesale net prepaid "
        "fragile surplus taxable monthly discounted outstanding perishable certified",
        "the market, the counter, the loading bay, the cellar, the auction, the tax office, "
        "the bank, the depot",
        "merchant clerk porter trader agent cashier supplier accountant broker",
    ),
    "home": (
        "blanket letter window sofa cup mirror door photograph suitcase clock candle cradle stair "
        "curtain pillow drawer diary teacup rug ring armchair wardrobe scarf toy quilt lullaby "
        "postcard bookshelf fireplace lamp key puzzle necklace recipe ribbon shoebox radio dress "
        "bracelet handkerchief",
        "open clean hide mend carry find keep wrap fold unpack lose dust sort lend treasure "
        "forget polish sew inherit hang",
        "quiet dusty warm faded little borrowed precious old yellow familiar crooked threadbare "
        "cosy embroidered forgotten chipped gentle tiny unfinished inherited",
        "the attic, the hallway, the porch, the spare room, the landing, the back stairs, "
        "the nursery, the kitchen table",
        "mother brother aunt child grandfather sister cousin uncle grandmother",
    ),
    "forest": (
        "trail camp tent torch stream oak fog backpack map mushroom hut branch stone compass fire "
        "owl footprint meadow waterfall boulder cabin deer fern cliff thunderstorm lantern pine "
        "clearing bridge canoe signpost squirrel blister moss fox campfire rucksack shelter lake "
        "ravine",
        "follow reach cross notice leave gather photograph climb explore circle sketch avoid "
        "describe chase cherish lose light remember wander pack",
        "steep silent damp hidden endless golden cold narrow fallen distant misty untouched "
        "tangled wild moonlit rocky ancient slippery peaceful shadowy",
        "the clearing, the ridge, the river bank, the valley, the edge of the woods, "
        "the campsite, the mountain pass, the old mill",
        "hiker ranger guide camper stranger traveller hunter woodcutter climber",
    ),
    "music": (
        "song violin concert drum melody stage album chorus piano audience rehearsal ticket "
        "rhythm guitar verse encore lyric choir microphone ballad tune record chord band trumpet "
        "duet harmony solo festival playlist tour opera whisper applause cassette bass refrain "
        "overture poster studio",
        "play record hear practise love remember write perform sing hum compose rehearse borrow "
        "whistle dedicate applaud cancel learn arrange release",
        "slow gentle loud crowded honest haunting live early soft restless melancholy catchy "
        "acoustic nervous tender bittersweet raw dreamy unplugged joyful",
        "the concert hall, the studio, the cafe, the front row, the festival, the dance floor, "
        "the rehearsal room, the record shop",
        "singer drummer listener composer friend guitarist pianist producer conductor",
    ),
    "geography": (
        "plateau basin glacier delta canal district border estuary coast peninsula province "
        "valley summit reservoir island lagoon ridge strait parish settlement floodplain quarry "
        "harbour moraine terrace marsh tributary isthmus escarpment watershed municipality reef "
        "gorge savanna aquifer railway headland county steppe spring",
        "border drain divide supply cover survey overlook irrigate traverse populate name map "
        "cross dam cultivate connect dominate annex enclose reclaim",
        "northern southern fertile arid mountainous navigable volcanic low-lying western "
        "administrative eastern densely-populated rural limestone alpine tidal glacial subtropical "
        "remote upland",
        "the lowlands, the northern coast, the upper valley, the eastern plain, the highlands, "
        "the river mouth, the southern border, the interior",
        "geographer settler surveyor inhabitant explorer cartographer farmer miner herder",
    ),
    "history": (
        "treaty castle dynasty siege fortress charter monastery rebellion parliament throne abbey "
        "manuscript chronicle guild palace tomb cathedral decree garrison crown archive "
        "inscription relic citadel duchy heir alliance truce census mosaic edict bishopric "
        "coronation seal crusade tapestry viaduct basilica colony plague",
        "found restore besiege rule rebuild abolish inherit describe conquer destroy ratify "
        "commission excavate fortify donate proclaim consecrate acquire plunder document",
        "medieval royal fortified ancient ruined lesser hereditary religious imperial surviving "
        "feudal Baroque provincial early ecclesiastical pagan noble prosperous contested Gothic",
        "the old capital, the abbey, the royal court, the archives, the province, the citadel, "
        "the battlefield, the crypt",
        "king bishop historian duke scholar abbot chronicler queen archaeologist",
    ),
    "nature": (
        "species habitat nest larva feather subspecies genus population burrow plumage colony "
        "root stem blossom predator diet seed pollen beak claw specimen migration fossil petal "
        "tuber wing egg canopy lifespan hibernation mate territory juvenile lichen spore fur "
        "parasite whisker shoot hybrid",
        "inhabit resemble pollinate threaten defend occupy classify observe collect hunt "
        "disperse protect incubate attract describe infest digest tolerate monitor introduce",
        "nocturnal endemic migratory common aquatic rare slender juvenile spotted wild "
        "endangered perennial carnivorous solitary venomous tropical social evergreen flightless "
        "threatened",
        "the wetlands, the forest floor, the coastal dunes, the canopy, the reserve, "
        "the tundra, the reed beds, the breeding grounds",
        "botanist zoologist naturalist collector biologist ecologist conservationist warden "
        "taxonomist",
    ),
}
