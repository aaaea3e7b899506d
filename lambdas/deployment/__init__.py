"""How an approved model gets behind the endpoint: what is wanted, what is there, and the next step between them."""
