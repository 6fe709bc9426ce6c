"use strict";
// Everything shown here was put into the page as data; text is only ever set as text.
const subjects = JSON.parse(document.getElementById("slices").textContent);
const chosen = document.getElementById("subject");
const slider = document.getElementById("slice");
const where = document.getElementById("where");
const pictures = document.getElementById("pictures");

function showSubject() {
  const subject = subjects[chosen.selectedIndex];
  const share = slider.max > 0 ? slider.value / slider.max : 0.6;
  slider.max = String(subject.slices.length - 1);
  slider.value = String(Math.round(share * (subject.slices.length - 1)));
  pictures.replaceChildren(...Object.keys(subject.images).map((label) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = label;
    figure.append(document.createElement("img"), caption);
    return figure;
  }));
  showSlice();
}

function showSlice() {
  const subject = subjects[chosen.selectedIndex];
  const place = Number(slider.value);
  where.textContent = "slice " + subject.slices[place];
  Object.entries(subject.images).forEach(([label, urls], index) => {
    const image = pictures.children[index].firstElementChild;
    image.src = urls[place];
    image.alt = label + ", " + subject.subject + ", slice " + subject.slices[place];
  });
}

slider.max = "0";
chosen.append(...subjects.map((subject) => new Option(subject.subject)));
chosen.addEventListener("change", showSubject);
slider.addEventListener("input", showSlice);
showSubject();
