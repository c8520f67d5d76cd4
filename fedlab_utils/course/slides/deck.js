// Start the deck, set the formulas, and make what is too large for a slide smaller until it fits.
(function () {
  const HEIGHT = 702;
  const LEAST = 0.5;

  function fit(section) {
    let size = 1;
    const tooLarge = () => section.scrollHeight > HEIGHT || section.scrollWidth > section.clientWidth + 2;
    while (tooLarge() && size > LEAST) {
      size -= 0.05;
      section.style.fontSize = `${size}em`;
      section.querySelectorAll("img").forEach((image) => { image.style.height = `${455 * size}px`; });
    }
    section.dataset.size = size.toFixed(2);
  }

  Reveal.initialize({
    width: 1280, height: 720, margin: 0.05, center: false, hash: true, transition: "none",
    slideNumber: "c/t", plugins: [window.RevealNotes], pdfSeparateFragments: false
  }).then(async () => {
    await MathJax.startup.promise;
    await MathJax.typesetPromise();
    await document.fonts.ready;
    // A slide that is not shown has no size, so each is laid out for a moment.
    document.querySelectorAll(".slides > section > section").forEach((section) => {
      const parent = section.parentElement;
      const before = [parent.style.display, section.style.display, section.hidden, parent.hidden];
      parent.style.display = section.style.display = "block";
      parent.hidden = section.hidden = false;
      fit(section);
      [parent.style.display, section.style.display, section.hidden, parent.hidden] = before;
    });
    Reveal.layout();
    document.body.dataset.ready = "yes";
  });
})();
