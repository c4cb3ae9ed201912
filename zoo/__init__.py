"""The zoo: small real models of the standard architectures, and the programs that made them."""
