// Temperature, power and impedance over time, in ECharts. The server sends the columns that are new or have changed;
// what is drawn lives here. See columns.py.
import { echarts } from "nicegui-echart";

const PICTURES = [
  { title: "temperature, °C", more: "; dashed: set-point", wanted: (name) => name.endsWith("_C"), share: 0.62 },
  { title: "power, W", wanted: (name) => name === "power_W", share: 0.19 },
  { title: "impedance, Ω", wanted: (name) => name === "impedance_ohm", share: 0.19 },
];
const OTHERS = ["--series-4", "--series-5", "--series-6"];

const told = (seconds) => {
  const whole = Math.round(seconds), sign = whole < 0 ? "−" : "", s = Math.abs(whole);
  const tail = String(s % 60).padStart(2, "0");
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${sign}${minutes}:${tail}` : `${sign}${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${tail}`;
};

export default {
  template: "<div></div>",
  created() {
    this.took_ms = 0;
    this.begin([], {});
  },
  mounted() {
    this.chart = echarts.init(this.$el, null, { renderer: "canvas" });
    this.sizes = new ResizeObserver(() => {
      this.chart.resize();
      this.restyle();
    });
    this.sizes.observe(this.$el);
    // light or dark is a class of the body's
    this.colors = new MutationObserver(this.restyle);
    this.colors.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    document.addEventListener("visibilitychange", this.draw);
  },
  beforeUnmount() {
    document.removeEventListener("visibilitychange", this.draw);
    clearTimeout(this.waiting);
    this.sizes.disconnect();
    this.colors.disconnect();
    this.chart.dispose();
  },
  methods: {
    begin(names, limits) {
      this.names = names;
      this.limits = limits;
      this.index = [];
      this.low = Object.fromEntries(names.map((name) => [name, []]));
      this.high = Object.fromEntries(names.map((name) => [name, []]));
      this.restyle();
    },
    // Every news is a sign of life as well.
    add(news) {
      globalThis.rfprobeHeard?.();
      if (news.names) this.begin(news.names, news.limits);
      this.width_s = news.width_s;
      this.span_s = news.span_s;
      this.now_s = news.now_s;
      let keep = this.index.length;
      while (keep && this.index[keep - 1] >= news.from) keep--;
      this.index.splice(keep, Infinity, ...news.index);
      for (const name of this.names) {
        this.low[name].splice(keep, Infinity, ...news.low[name]);
        this.high[name].splice(keep, Infinity, ...news.high[name]);
      }
      this.forget();
      this.draw();
    },
    forget() {
      if (!this.span_s) return;
      const first = Math.floor((this.now_s - this.span_s) / this.width_s);
      let gone = 0;
      while (gone < this.index.length && this.index[gone] < first) gone++;
      if (gone < 60) return;
      this.index.splice(0, gone);
      for (const name of this.names) {
        this.low[name].splice(0, gone);
        this.high[name].splice(0, gone);
      }
    },
    // How many points are known: for whoever tests.
    points() {
      return this.names.reduce((sum, name) => sum + this.data(name).filter((each) => each[1] !== null).length, 0);
    },
    data(name) {
      const points = [], low = this.low[name], high = this.high[name];
      for (let at = 0; at < this.index.length; at++) {
        const t_s = this.index[at] * this.width_s;
        points.push([t_s, low[at]]);
        if (high[at] !== low[at]) points.push([t_s + this.width_s / 2, high[at]]);
      }
      return points;
    },
    // A picture costs the browser ten milliseconds to a tenth of a second: as often as a pixel's time passes, twice a
    // second at most, and where the machine is slow or has other things to do, for a twentieth of the time.
    draw() {
      if (!this.chart || document.hidden || this.waiting) return;
      const pixel_ms = (this.now_s ?? 0) * 1000 / Math.max(this.$el.clientWidth, 1);
      const every_ms = this.styled ? Math.max(Math.min(pixel_ms, 2000), Math.min(20 * this.took_ms, 5000), 500) : 0;
      const due_ms = (this.drawn_ms ?? -Infinity) + every_ms - performance.now();
      this.waiting = setTimeout(() => {
        this.waiting = undefined;
        if (!this.chart.isDisposed()) this.paint();
      }, Math.max(due_ms, 0));
    },
    restyle() {
      this.styled = false;
      clearTimeout(this.waiting);
      this.waiting = undefined;
      this.draw();
    },
    paint() {
      this.drawn_ms = performance.now();
      if (!this.styled) this.chart.setOption(this.look(), { notMerge: true });
      this.styled = true;
      const from_s = this.span_s ? Math.max(0, this.now_s - this.span_s) : 0;
      const axis = { min: from_s, max: Math.max(this.now_s ?? 0, from_s + 30) };
      this.chart.setOption({
        xAxis: PICTURES.map(() => axis),
        series: this.names.map((name) => ({ id: name, data: this.data(name) })),
      });
      this.took_ms = performance.now() - this.drawn_ms;
    },
    look() {
      const css = getComputedStyle(document.body);
      const color = (name) => css.getPropertyValue(name).trim();
      const ink = color("--quiet"), rule = color("--rule"), font = { color: ink, fontSize: 13 };
      const height = this.$el.clientHeight, narrow = this.$el.clientWidth < 500;
      const above = 30, between = 28, below = 26;
      const usable = Math.max(height - above - below - 2 * between, 60);
      const grids = [];
      let top = above;
      for (const { share } of PICTURES) {
        grids.push({ left: narrow ? 40 : 52, right: narrow ? 8 : 16, top, height: usable * share });
        top += usable * share + between;
      }
      const last = PICTURES.length - 1;
      return {
        animation: false,
        textStyle: { fontFamily: "Roboto, sans-serif" },
        backgroundColor: "transparent",
        grid: grids,
        tooltip: {
          trigger: "axis",
          backgroundColor: color("--card"), borderColor: rule, textStyle: { color: color("--ink") },
          formatter: (found) => `${told(found[0].axisValue)}<br>` + found
            .filter((each, at) => each.value[1] !== null && found.findIndex((one) => one.seriesName === each.seriesName) === at)
            .map((each) => `${each.marker} ${each.seriesName.replace(/_(C|W|ohm)$/, "")} <b>${each.value[1].toFixed(1)}</b>`)
            .join("<br>"),
        },
        axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: ink } },
        xAxis: PICTURES.map((_, at) => ({
          type: "value", gridIndex: at, min: 0, max: 30, splitNumber: narrow ? 3 : 6, minInterval: 1,
          axisLine: { lineStyle: { color: rule } }, axisTick: { show: false }, splitLine: { show: false },
          axisLabel: { ...font, show: at === last, formatter: told, hideOverlap: true, showMaxLabel: false, showMinLabel: false },
        })),
        yAxis: PICTURES.map((_, at) => ({
          type: "value", gridIndex: at, splitNumber: at ? 2 : 5, axisLine: { show: false }, axisTick: { show: false },
          axisLabel: { ...font, formatter: (value) => `${value}` },
          splitLine: { lineStyle: { color: rule, opacity: 0.6 } },
          ...(at === 0
            ? { min: (of) => Math.floor(of.min / 5) * 5, max: (of) => Math.ceil((Math.max(of.max, 45) + 2) / 5) * 5 }
            : { min: 0, max: (of) => (of.max > 0 ? null : 1) }),
        })),
        graphic: PICTURES.map(({ title, more }, at) => ({
          type: "text", left: grids[at].left, top: grids[at].top - 20, silent: true,
          style: { text: title + (more && !narrow ? more : ""), fill: ink, font: "13px Roboto, sans-serif" },
        })),
        series: this.names.map((name, nth) => this.series(name, nth, color)),
      };
    },
    series(name, nth, color) {
      const at = PICTURES.findIndex(({ wanted }) => wanted(name));
      const role = name.replace(/_(C|W|ohm)$/, "");
      const shade = color(`--${role}`) || color(OTHERS[nth % OTHERS.length]);
      const made = {
        id: name, name, type: "line", xAxisIndex: at, yAxisIndex: at, symbol: "none", data: [],
        itemStyle: { color: shade },
        lineStyle: { color: shade, width: role === "setpoint" ? 1.5 : 2.25, type: role === "setpoint" ? "dashed" : "solid" },
        ...(at ? { areaStyle: { color: shade, opacity: 0.15 } } : {}),
      };
      return name === "control_C" ? { ...made, ...this.bands(color) } : made;
    },
    // The limits: a line each, and what lies above the highest shaded.
    bands(color) {
      const entries = Object.entries(this.limits);
      if (!entries.length) return {};
      const highest = Math.max(...entries.map(([, value]) => value));
      return {
        markLine: {
          silent: true, symbol: "none",
          label: { position: "insideStartTop", fontSize: 12, formatter: "{b}" },
          data: entries.map(([name, value]) => {
            const shade = color(name === "guard trip" ? "--guard" : "--bad");
            return { name: `${name} ${value} °C`, yAxis: value, lineStyle: { color: shade, type: "dotted", width: 1.5 }, label: { color: shade } };
          }),
        },
        markArea: { silent: true, itemStyle: { color: color("--bad"), opacity: 0.12 }, data: [[{ yAxis: highest }, { yAxis: 1000 }]] },
      };
    },
  },
};
