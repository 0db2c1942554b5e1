"""Many boxes at once: the matrix and its report."""
