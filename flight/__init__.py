"""Where programs import the flight bookings from; what they do is in `interfaces/booking.py`."""
