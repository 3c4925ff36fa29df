"""Words of the language that mean nothing in some places, where one edit makes them a word that does."""

# That mean nothing before a garment or hair, and are one edit from a colour. Nouns such as "link" or "block" can stand there.
FOR_COLORS = """
lack back while write blur greet drown frown glue greed nay grown brow fellow blues greens whites blacks reds greys rad rid read
"""

# That mean nothing between a garment and its colour, where a form of "be" was meant.
FOR_BEING = """
or it ar ae ia os si s i area ate art ore as us ere arr r
"""

# That stand between two colours where "and" was meant.
FOR_AND = "an a"

# Nouns of what no person wears, one edit from a garment.
FOR_CLOTHES = {
    "plants": "pants", "plant": "pants", "paint": "pants", "pans": "pants", "pats": "pants", "parts": "pants", "ants": "pants",
    "pens": "jeans", "beans": "jeans", "deans": "jeans", "means": "jeans", "packet": "jacket", "racket": "jacket", "cost": "coat",
    "cot": "coat", "boat": "coat", "goat": "coat", "shift": "shirt", "shit": "shirt", "skit": "skirt", "shots": "shorts",
    "shoots": "shorts", "sweeter": "sweater", "lights": "tights", "rights": "tights", "nights": "tights", "sights": "tights",
    "press": "dress", "fest": "vest", "nest": "vest", "west": "vest", "suite": "suit",
}  # fmt: skip

# Those of them that no person is in.
NEVER_AROUND = frozenset(["suite", "skit", "shit", "sweeter", "cost", "shift", "plants", "pans", "pats", "shots"])
