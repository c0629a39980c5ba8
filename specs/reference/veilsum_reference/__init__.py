"""A second implementation of Veilsum's checks, written from specs/ and from nothing else. Slow, plain, standard library only."""
