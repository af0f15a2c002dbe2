// ReDoc would fetch its maker's logo from another host, which the page forbids: it is told at once that there is none.
"use strict";

const { set: setSource, get: getSource } = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
const setAttribute = Element.prototype.setAttribute;

function unlessElsewhere(image, address, set) {
  if (new URL(address, location.href).origin === location.origin || String(address).startsWith("data:")) set();
  else setTimeout(() => image.dispatchEvent(new Event("error")));
}

Object.defineProperty(HTMLImageElement.prototype, "src", {
  get: getSource,
  set(address) {
    unlessElsewhere(this, address, () => setSource.call(this, address));
  },
});
HTMLImageElement.prototype.setAttribute = function (name, value) {
  if (name === "src") unlessElsewhere(this, value, () => setAttribute.call(this, name, value));
  else setAttribute.call(this, name, value);
};
