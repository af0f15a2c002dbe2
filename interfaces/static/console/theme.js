// Before anything is drawn: the colours that this browser was told to use.
"use strict";
const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
