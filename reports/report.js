"use strict";
// Filters tests by text and outcome. Without JavaScript the page is whole, only the filter stays hidden.
(() => {
  const form = document.getElementById("filter");
  const tests = [...document.querySelectorAll(".test[data-outcome]")];
  if (form && tests.length > 1) {
    const input = form.querySelector("input[type=search]");
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const output = form.querySelector("output");
    const texts = new Map(tests.map((test) => [test, test.textContent.toLowerCase()]));
    const apply = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const outcomes = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let shown = 0;
      for (const test of tests) {
        const fits = outcomes.has(test.dataset.outcome) && wanted.every((word) => texts.get(test).includes(word));
        test.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      for (const section of document.querySelectorAll("main > section, .area")) {
        const inside = [...section.querySelectorAll(".test[data-outcome]")];
        section.hidden = inside.length > 0 && inside.every((test) => test.hidden);
      }
      output.textContent = shown === tests.length ? `${shown} tests` : `${shown} of ${tests.length} tests`;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
        event.preventDefault();
        input.focus();
      }
    });
    apply();
  }
  // A link to a test opens it; a printed page shows what does not hold with its evidence.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
