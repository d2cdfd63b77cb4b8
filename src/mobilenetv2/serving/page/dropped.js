// Files and folders that a user drops or chooses, as photos of classes.

import { say } from "./words.js";

/**
 * @typedef {{path: string, file: File}} Found a file, with the folders above it: "clothes/hat/1.jpg"
 */

const PHOTO = /\.(jpe?g|jfif|png|webp|gif|bmp|avif|heic|heif|tiff?)$/i;

/**
 * Return the photos among files by class: the folder that a photo is in names its class.
 * @param {Found[]} found
 * @returns {{classes: Map<string, File[]>, passed: number}} passed: files that are no photos; photos
 *   in no folder are under "".
 */
export function byFolder(found) {
  /** @type {Map<string, File[]>} */
  const classes = new Map();
  let passed = 0;
  const order = [...found].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  for (const { path, file } of order) {
    const folders = path.split("/").filter(Boolean);
    const name = folders.pop() ?? "";
    if ([name, ...folders].some((part) => part.startsWith(".") || part === "__MACOSX")) continue;
    if (!PHOTO.test(name) && !file.type.startsWith("image/")) {
      passed++;
      continue;
    }
    const group = folders.at(-1) ?? "";
    classes.set(group, [...(classes.get(group) ?? []), file]);
  }
  return { classes, passed };
}

/**
 * Return the files of an <input>, with their folders if it chose a folder.
 * @param {Iterable<File>} files
 * @returns {Found[]}
 */
export function chosen(files) {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * Take the files of a drop; a folder that cannot be read becomes a sentence.
 * @param {DragEvent & {dataTransfer: DataTransfer}} event
 * @param {(found: Found[]) => unknown} take
 * @param {(error: unknown) => unknown} report
 */
export async function receive(event, take, report) {
  event.preventDefault();
  try {
    await take(await dropped(event.dataTransfer));
  } catch (error) {
    report(error);
  }
}

/**
 * Return the files of a drop, those in folders as well.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found[]>}
 */
export async function dropped(transfer) {
  // Entries are taken before anything is awaited: afterwards the browser empties the transfer.
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.() ?? null, file: item.getAsFile() }));
  const found = await Promise.all(
    entries.map(({ entry, file }) => {
      if (entry?.isDirectory) return within(/** @type {FileSystemDirectoryEntry} */ (entry), "");
      return file ? [{ path: file.name, file }] : [];
    }),
  );
  return found.flat();
}

/**
 * Return the files in a folder and in the folders in it.
 * @param {FileSystemDirectoryEntry} folder
 * @param {string} above
 * @returns {Promise<Found[]>}
 */
async function within(folder, above) {
  const path = `${above}${folder.name}/`;
  const reader = folder.createReader();
  /** @type {Found[]} */
  const found = [];
  for (;;) {
    // A browser gives at most a hundred entries at a time, and none when there are no more.
    const entries = await readable(path, (resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const entry of entries) {
      if (entry.isDirectory) {
        found.push(...(await within(entry, path)));
      } else {
        const place = path + entry.name;
        const file = await readable(place, (resolve, reject) => entry.file(resolve, reject));
        found.push({ path: path + file.name, file });
      }
    }
  }
}

/**
 * Return what a browser reads of a folder or file.
 * @param {string} path
 * @param {(resolve: (value: any) => void, reject: (error: any) => void) => void} read
 */
async function readable(path, read) {
  try {
    return await new Promise(read);
  } catch (error) {
    // The browser's own words do not name it.
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(say("drop.unreadable", { path, why }));
  }
}
