"""Golden logs: what every released version has written, and what it meant; every later version must agree."""
