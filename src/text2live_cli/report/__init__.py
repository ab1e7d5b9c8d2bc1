"""What is looked at in a browser or a viewer: pages, charts, films of an atlas."""
