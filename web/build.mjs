/**
 * Build what the page needs of other makers into src/mobilenetv2/serving/vendor: LiteRT.js with
 * its WebAssembly, and fflate. `make web` runs this after `npm ci`.
 *
 * Large files are stored compressed, and served as they are with Content-Encoding: gzip.
 */
import {build} from "esbuild";
import {mkdirSync, readFileSync, rmSync, writeFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {gzipSync} from "node:zlib";

const HERE = dirname(fileURLToPath(import.meta.url));
const VENDOR = join(HERE, "..", "src", "mobilenetv2", "serving", "vendor");
const PACKAGES = join(HERE, "node_modules");

/** Builds of LiteRT's WebAssembly: with threads, without, and without relaxed SIMD. */
const VARIANTS = ["threaded_internal", "internal", "compat_internal"];

/** Packages whose code is in the result, with the file that holds the words of their licence. */
const LICENCES = {
  "@litertjs/core": join(HERE, "..", "LICENSE"),
  "@litertjs/wasm-utils": join(HERE, "..", "LICENSE"),
  fflate: join(PACKAGES, "fflate", "LICENSE"),
};

/** Bundle what a module of this text exports into one file; a package that is new fails. */
async function bundle(text, place) {
  const result = await build({
    stdin: {contents: text, resolveDir: HERE},
    bundle: true,
    format: "esm",
    minify: true,
    metafile: true,
    legalComments: "none", // the licences are in a file of their own
    target: "es2022",
    outfile: place,
    logLevel: "warning",
  });
  for (const input of Object.keys(result.metafile.inputs)) {
    const name = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1];
    if (name !== undefined && !(name in LICENCES)) {
      throw new Error(`${input} is bundled, but LICENCES in build.mjs does not have ${name}`);
    }
  }
}

/** Write the words of all licences, each with the packages that it is for. */
function writeLicences(place) {
  const byText = new Map();
  for (const [name, file] of Object.entries(LICENCES)) {
    const {version, license} = JSON.parse(readFileSync(join(PACKAGES, name, "package.json")));
    const text = readFileSync(file, "utf8").trim();
    byText.set(text, [...(byText.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  const parts = [...byText].map(([text, names]) => `${names.join("\n")}\n\n${text}\n`);
  writeFileSync(place, parts.join(`\n${"=".repeat(80)}\n\n`));
}

rmSync(VENDOR, {recursive: true, force: true});
const wasm = join(VENDOR, "litert", "wasm");
mkdirSync(wasm, {recursive: true});
await bundle('export * from "@litertjs/core";', join(VENDOR, "litert", "litert.js"));
await bundle('export {zipSync} from "fflate";', join(VENDOR, "fflate.js"));
for (const variant of VARIANTS) {
  for (const suffix of [".js", ".wasm"]) {
    const name = `litert_wasm_${variant}${suffix}`;
    const data = readFileSync(join(PACKAGES, "@litertjs", "core", "wasm", name));
    writeFileSync(join(wasm, `${name}.gz`), gzipSync(data, {level: 9}));
  }
}
writeLicences(join(VENDOR, "LICENCES.txt"));
