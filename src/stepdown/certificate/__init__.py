"""Measurements and a contract become proof or refusal.

Read in this order: `observations` (what was seen), `calibrate` and `path` (chosen on tune), `evidence` (what the claim
is proved on), `ledger` (how much of the error budget is left), `claims` and `certify` (the tests), `refusal`, `verify`,
`describe` and `files`.
"""
