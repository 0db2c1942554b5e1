"""What a village does beside watching: study sessions, questionnaires, faults, needs, and the page for inspectors."""
