// Elements, made of text alone: nothing here or elsewhere on the page turns a string into markup.

/** An element. Strings among its children become text; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" || name === "disabled" || name === "hidden") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** A button that copies a text; none where the browser lets no page copy. */
export function copying(text, what) {
  if (!navigator.clipboard) return null;
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    announce(`Copied: ${what}.`);
  };
  return h("button", { type: "button", class: "copy quiet", title: `Copy ${what}`, "aria-label": `Copy ${what}`, onclick: copy }, "Copy");
}

/** A part of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}

/** Put children in place of those an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === "object" ? child : document.createTextNode(String(child)));
  }
}

/** Tell people who do not see the page what has just happened on it. */
export function announce(text) {
  document.getElementById("said").textContent = text;
}

/** Call at most once in so many milliseconds of quiet. */
export function settled(milliseconds, call) {
  let timer = 0;
  return (...said) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...said), milliseconds);
  };
}
