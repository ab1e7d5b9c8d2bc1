"""The command line: it parses, calls one pipeline, and prints."""
