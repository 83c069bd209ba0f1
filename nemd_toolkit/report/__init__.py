"""The page, the card, the JSON and the tables of an analysis."""
