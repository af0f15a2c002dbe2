"""Where programs import the cash-out calls and stored sagas from; what they do is in `interfaces/cashout.py`."""
