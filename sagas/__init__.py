"""Where programs import the cash-out calls from; what they do is in `interfaces/cashout.py`."""
