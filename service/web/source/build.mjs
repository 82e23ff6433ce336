// Usage: node build.mjs FOLDER. Bundles the page into FOLDER: names carry hashes, texts come gzipped beside themselves.
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = import.meta.dirname;
const folder = resolve(process.argv[2] ?? "built");
const require = createRequire(import.meta.url);

/** `import url from "package/file?url"` puts the file beside the bundle and gives its address. */
const asUrl = {
  name: "url",
  setup(build) {
    build.onResolve({ filter: /\?url$/ }, ({ path }) => ({ path: require.resolve(path.slice(0, -4)), namespace: "url" }));
    build.onLoad({ filter: /./, namespace: "url" }, async ({ path }) => ({ contents: await readFile(path), loader: "file" }));
  },
};

async function page(outputs) {
  const made = (entry) => {
    const found = Object.entries(outputs).find(([, output]) => output.entryPoint === entry);
    return basename(found[0]);
  };
  const html = await readFile(join(here, "index.html"), "utf8");
  return html.replace("%SCRIPT%", made("main.ts")).replace("%STYLE%", made("style.css"));
}

/** The licences of every package that a byte of the bundle comes from. */
async function licences(inputs) {
  const packages = new Set(
    Object.keys(inputs).flatMap((path) => /node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []).sort(),
  );
  const texts = [];
  for (const folder of packages) {
    const names = await readdir(join(here, folder));
    const name = names.find((name) => /^licen[cs]e/i.test(name));
    if (name) texts.push(`${folder.slice(13)}\n\n${await readFile(join(here, folder, name), "utf8")}`);
  }
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["main.ts", "style.css"],
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  outdir: folder,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  metafile: true,
  loader: { ".woff2": "file" },
  plugins: [asUrl],
  logLevel: "warning",
});
await writeFile(join(folder, "index.html"), await page(metafile.outputs));
await writeFile(join(folder, "licenses.txt"), await licences(metafile.inputs));
await copyFile(join(here, "favicon.svg"), join(folder, "favicon.svg"));
for (const name of await readdir(folder)) {
  if ([".css", ".js", ".json", ".mjs", ".txt"].includes(extname(name))) {
    await writeFile(join(folder, `${name}.gz`), gzipSync(await readFile(join(folder, name)), { level: 9 }));
  }
}
