"""What a machine without Docker needs to run and measure the product."""
