"""Records of the edges coming home: each exactly once, and what is missing, changed or forged is seen."""
