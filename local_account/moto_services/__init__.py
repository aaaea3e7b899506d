"""Services that moto answers, with small corrections."""
