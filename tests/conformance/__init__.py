"""What the public conformance suite asks of a server, and what the specifications say, as tests of our own."""
