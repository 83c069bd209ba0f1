"""Drawing measures; nothing is computed here."""
