// A thread: its items beside a timeline of its commits, at any moment of its past or two of them compared, and live.
import { brokenOff, path, Refused } from "./api.js";
import { asked, blameShown } from "./blame.js";
import { Commits } from "./commits.js";
import { comparison } from "./compare.js";
import { announce, copying, fill, h, settled } from "./dom.js";
import { count, titleOf } from "./finding.js";
import { forksShown } from "./forks.js";
import { live, watching } from "./live.js";
import { marks } from "./marks.js";
import { choosing, Matches } from "./matches.js";
import { moment } from "./moment.js";
import { failure, gone, loading } from "./notices.js";
import { recordShown } from "./record.js";
import { removal } from "./removal.js";
import { restoration } from "./restoration.js";
import { go, toThread } from "./route.js";
import { saving } from "./saving.js";
import { isErased, stateShown, states } from "./state.js";
import { tabs } from "./tabs.js";
import { line } from "./text.js";
import { timeline } from "./timeline.js";
import { verdict } from "./verdict.js";

const LATE = 600; // milliseconds

/** The view of one thread. */
export function threadView(api, route) {
  const id = route.id;
  const leaving = new AbortController();
  const { signal } = leaving;
  let again = () => load();
  const pages = states(api, id, () => again());
  let at = null;
  let from = route.from;
  let tab = route.tab;
  let filter = { actor: route.actor, kind: route.kind };
  let following = route.at === null;
  let loads = null;
  let recordOpen = false;

  const commits = new Commits(api, id, signal, { arrived: redraw, failed: (fault) => fill(trouble, failure(fault, redraw, true)) });
  const leaves = removal(api, id, signal, () => commits.total, forget);
  const signs = marks(api, id, leaves, signal, redraw);
  const matches = new Matches(api, id, commits, signal, { arrived: redraw, failed: (fault) => fill(trouble, failure(fault, () => matches.more(), true)) });
  const list = timeline(commits, matches, signs, choose);
  const slider = moment(commits, signs, (n, step) => choose(n, step), () => view.pin());
  const filters = choosing(filter, sift, seek);
  const compare = comparison(api, id, pages, () => commits.total, (n) => pin(n, true));
  const check = verdict(api, id, commits, signal);
  const save = saving(api, id, signal, () => (tab === "compare" ? ends() : [at]));
  const trouble = h("div", {});
  const called = h("p", { class: "called" });
  const facts = h("p", { class: "fine facts" });
  const watch = watching();
  const choice = tabs(
    [
      ["state", "State"],
      ["blame", "Who changed what"],
      ["compare", "Compare"],
    ],
    tab,
    (name) => {
      tab = name;
      following = tab !== "compare" && at === commits.total;
      pin(from, false);
      address(true);
      load();
    },
  );
  const panel = choice.panel;
  const body = h("div", { class: "loaded" });
  const actions = h("div", { class: "actions" }, watch.button, check.button, ...save.controls);
  const element = h(
    "article",
    { class: "thread", "aria-labelledby": "thread-id" },
    h("header", { class: "thread-head" }, h("div", {}, h("a", { class: "fine", href: "#threads" }, "All threads"), called, h("div", { class: "named" }, h("h1", { id: "thread-id", class: "mono" }, line(id)), copying(id, "the thread's id")), facts), actions),
    trouble,
    check.element,
    save.element,
    body,
  );

  const stream = live(api, id, {
    told: watch.told,
    took(commit) {
      const before = commits.total;
      commits.take(commit);
      grow(before, matches.take(commit));
      if (commit.events.some(({ type }) => type === "ErasureRequested")) leaves.renew().catch(() => null);
    },
    opened: catchUp,
  });
  watch.on(stream);

  async function catchUp() {
    const before = commits.total;
    await commits.count();
    grow(before);
    await signs.renew();
  }

  // What was read before and is being erased goes from the page as well.
  function forget() {
    pages.forget();
    commits.forget();
    matches.forget();
    commits.want(1, 1);
    redraw();
    load();
  }

  function grow(before, listed = true) {
    const by = commits.total - before;
    if (by <= 0) return;
    list.grown(matches.filtered ? Number(listed) : by);
    signs.draw();
    tell();
    announce(`${count(by, "new commit")}.`);
    if (following) show(commits.total);
    else slider.draw();
  }

  function tell() {
    fill(facts, count(commits.total, "commit"), commits.get(1) ? [" · begun ", commits.get(1).at.slice(0, 10), " by ", line(commits.get(1).actor)] : null);
  }

  function redraw() {
    fill(trouble);
    list.draw();
    slider.draw();
    tell();
  }

  function choose(n, step) {
    following = n === commits.total && tab !== "compare";
    show(n);
    address(step);
  }

  const settle = settled(300, () => signal.aborted || address(true, true));
  function address(step, quietly = false) {
    const two = tab === "compare";
    if (step) go(toThread(id, { at: following && !two ? null : at, from: two ? from : null, tab, ...filter }), { quietly });
    else settle();
  }

  /** The two moments that are compared, the earlier one first. */
  const ends = () => [Math.min(from, at), Math.max(from, at)];

  // Compare with the state after another commit, or without a number with the first.
  function pin(n, step) {
    if (tab === "compare") from = Math.min(n ?? 1, commits.total);
    list.pin(tab === "compare" ? from : null);
    if (!step) return;
    address(true);
    load();
  }

  function sift(wanted) {
    filter = wanted;
    filters.say(filter);
    matches.choose(filter);
    list.select(at);
    address(true);
  }

  // To the last commit up to a time; the API says which that is.
  async function seek(time) {
    fill(trouble);
    try {
      const { value } = await api.get(path("threads", id, "diff"), { from: time, to: time, limit: 1 }, signal);
      if (value.to.n === 0) announce("The thread was not there yet: this is its first commit.");
      choose(Math.max(1, value.to.n), true);
    } catch (fault) {
      if (!brokenOff(fault)) fill(trouble, failure(fault));
    }
  }

  function show(n) {
    if (n === at) return;
    at = n;
    list.select(n);
    slider.select(n);
    panel.setAttribute("aria-busy", "true");
    // The moment is drawn at once; what was then is asked for when it is clear which is meant.
    later();
  }

  const later = settled(90, () => load());

  async function load() {
    loads?.abort();
    if (signal.aborted) return;
    const mine = (loads = new AbortController());
    const either = AbortSignal.any([signal, mine.signal]);
    panel.setAttribute("aria-busy", "true");
    // What was at another moment does not stay for long under the name of this one.
    const late = setTimeout(() => mine.signal.aborted || fill(panel, loading("this moment")), LATE);
    try {
      const [n, blame] = [at, tab === "blame"];
      if (tab !== "state") name(n);
      if (tab === "compare") {
        const two = await compare.asked(...ends(), either);
        if (either.aborted) return;
        fill(panel, compare.shown(two, signal));
        return;
      }
      const [found, commit, about] = await Promise.all([blame ? asked(api, id, n, either) : pages.at(n, either), commits.need(n), leaves.at(n)]);
      if (either.aborted) return;
      if (!blame && found.thread) call(found.thread);
      const record = commit && recordShown(commit, recordOpen, (open) => (recordOpen = open));
      const undo = !blame && found.thread === null && n === commits.total && !isErased(found) && restoration(api, id, signal, catchUp);
      const now = n === commits.total && !isErased(found);
      const kept = !blame && (now ? leaves.retentionNow(found.thread, about.holds, either) : leaves.retentionShown(found.thread, about.holds));
      fill(panel, record, leaves.erasuresShown(about, signal), kept, blame ? blameShown(found, commits, (limit) => asked(api, id, n, signal, limit)) : stateShown(found, pages, signal), undo, !blame && found.thread !== null && forksShown(api, id, found.thread, n, either));
      reveal();
    } catch (fault) {
      if (brokenOff(fault) || mine.signal.aborted) return;
      fill(panel, failure(fault, load, true));
      dispatchEvent(new CustomEvent("refused", { detail: fault }));
    } finally {
      clearTimeout(late);
      if (loads === mine) panel.removeAttribute("aria-busy");
    }
  }

  // Where the state is not shown, what it is called has to be asked for; not knowing that is no trouble.
  function name(n) {
    if (called.hasChildNodes()) return;
    api.get(path("threads", id), { as_of: n }, signal).then(({ value }) => call(value), () => null);
  }

  function call(thread) {
    const title = titleOf(thread);
    fill(called, title && line(title));
    document.title = `${title ?? id} · Clew explorer`;
  }

  // Where the panel scrolls by itself, what changed comes into view.
  function reveal() {
    if (panel.scrollHeight <= panel.clientHeight) return;
    const changed = panel.querySelector(".message.is-added, .message.is-changed, .message.is-deleted, tr.changed");
    panel.scrollTop = changed ? Math.max(0, changed.offsetTop - panel.offsetTop - 64) : 0;
  }

  async function begin() {
    document.title = `${id} · Clew explorer`;
    fill(trouble);
    fill(body, loading("the thread"));
    try {
      await commits.count();
    } catch (fault) {
      if (brokenOff(fault)) return;
      dispatchEvent(new CustomEvent("refused", { detail: fault }));
      actions.hidden = true;
      fill(body);
      fill(trouble, failure(fault, begin, true));
      if (fault instanceof Refused && fault.scope === "audit") await present();
      return;
    }
    actions.hidden = commits.gone;
    if (commits.gone) {
      fill(trouble, gone());
      await present("This is what is still known of it.");
      return;
    }
    fill(body, slider.element, signs.element, h("div", { class: "columns" }, h("section", { class: "past", "aria-label": "Timeline" }, filters.element, list.element), h("section", { class: "then" }, choice.element, panel)));
    commits.want(1, 1);
    if (commits.total <= 160) commits.want(1, commits.total);
    if (route.at !== null && route.at > commits.total) announce(`There is no commit ${route.at} yet: this is now.`);
    matches.choose(filter);
    following = following && tab !== "compare";
    show(route.at === null ? commits.total : Math.min(route.at, commits.total));
    pin(from, false);
    tell();
    stream.start();
  }

  // Without the past there is still the present.
  async function present(title = "This is the thread as it is now.") {
    again = () => present(title);
    try {
      const found = await pages.at(null, signal);
      call(found.thread);
      fill(body, h("section", { class: "then alone" }, h("p", { class: "fine" }, title), leaves.retentionShown(found.thread), stateShown(found, pages, signal)));
    } catch (fault) {
      if (!brokenOff(fault)) fill(body, failure(fault, () => present(title), true));
    }
  }

  const view = {
    element,
    takes: (wanted) => wanted.view === "thread" && wanted.id === id,
    go(wanted) {
      following = wanted.at === null;
      const turned = wanted.tab !== tab;
      tab = wanted.tab;
      const moved = tab === "compare" && wanted.from !== from;
      choice.choose(tab);
      filter = { actor: wanted.actor, kind: wanted.kind };
      filters.say(filter);
      route = wanted;
      if (!commits.total) return;
      matches.choose(filter);
      const n = wanted.at === null ? commits.total : Math.min(wanted.at, commits.total);
      pin(wanted.from, false);
      if (n !== at) show(n);
      else if (turned || moved) load();
      list.select(at);
    },
    step(by) {
      if (commits.total && at !== null) list.step(by);
    },
    /** Compare the moment that is shown with those that are gone to from here. */
    pin() {
      if (!commits.total || at === null) return;
      tab = "compare";
      following = false;
      choice.choose(tab);
      pin(at, true);
    },
    leave() {
      leaving.abort();
      stream.leave();
      list.leave();
    },
  };
  begin();
  return view;
}
