// Before anything is painted: the colours that were chosen, or those of the system.
(() => {
  const key = "outbox-relay-theme";
  const names = ["system", "light", "dark"];
  const icons = { system: "◐", light: "☀", dark: "☾" };
  let chosen = "system";
  try {
    chosen = localStorage.getItem(key) || chosen;
  } catch {
    // A browser may keep nothing for us.
  }
  const apply = () => {
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    const button = document.getElementById("theme");
    if (!button) return;
    button.textContent = icons[chosen] || icons.system;
    button.setAttribute("aria-label", chosen === "system" ? "Colours: as the system has them" : `Colours: ${chosen}`);
  };
  const next = () => {
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    try {
      localStorage.setItem(key, chosen);
    } catch {
      // Then it is for this page alone.
    }
    apply();
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", next);
  });
})();
