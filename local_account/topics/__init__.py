"""Topics of SNS: moto keeps them, here they are told as SNS tells them."""
