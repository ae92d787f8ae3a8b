// Runs before the first paint, so that no theme ever flashes; everything else is a module.
(() => {
  const { dataset } = document.documentElement;
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // a browser without storage follows the system
  }
  if (chosen) dataset.chosen = "";
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = dark ? "dark" : "light";
})();
