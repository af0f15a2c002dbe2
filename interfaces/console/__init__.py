"""The console at /console/: what operators see of sagas, and what they may do, drawn by the server.

`access` knows who looks, in which language, and what every page says to the browser; `live` when an open page must be
drawn again. Each other module is one part of the console, over the same use cases as the API.
"""
