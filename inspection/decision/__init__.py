"""From votes to one verdict: combination, operating point, rules, the Inspector."""
