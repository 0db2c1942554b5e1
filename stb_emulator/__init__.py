"""Old and new set-top boxes in software. They know the wire and nothing else."""
