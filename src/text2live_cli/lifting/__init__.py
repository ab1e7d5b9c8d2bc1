"""From a picture and anybody's edited version of it to a clean edit layer; no encoder, no torch."""
