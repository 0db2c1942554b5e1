"""What the portals of the CTC family share (docs/adr/0015): pages in a box's charset, and the one list of channels."""
