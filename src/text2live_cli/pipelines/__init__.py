"""One module for each command, made of the parts below."""
