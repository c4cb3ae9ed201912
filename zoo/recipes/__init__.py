"""One recipe a model: trains it with the reference libraries on data of the world and writes it as a Hub repository."""
