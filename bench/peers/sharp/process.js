// Makes of one photo what townsquare makes: four sizes in four formats, a ThumbHash, a tiny picture, colours.
// node process.js PHOTO FOLDER equal|default; prints seconds, peak memory and bytes by format as JSON.
//
// "Its usual way": one pipeline for each output, as its documentation shows it, all of them started at once.

const fs = require("node:fs");
const path = require("node:path");
const sharp = require("sharp");

const SIZES = { thumbnail: 160, small: 480, medium: 1080, large: 1920 };

// Equal: those of townsquare/images/encoding.py. sharp cannot ask PNG for the filter "up" alone; none is its quickest.
const SETTINGS = {
  equal: {
    avif: { quality: 60, effort: 1, chromaSubsampling: "4:2:0" },
    webp: { quality: 80, effort: 2 },
    jpeg: {
      quality: 80,
      progressive: true,
      optimiseCoding: true,
      trellisQuantisation: true,
      overshootDeringing: true,
      optimiseScans: false,
      quantisationTable: 3,
    },
    png: { compressionLevel: 2, adaptiveFiltering: false },
  },
  default: { avif: {}, webp: {}, jpeg: {}, png: {} },
};

async function analyse(photo) {
  const { rgbaToThumbHash } = await import("thumbhash");
  const { data, info } = await sharp(photo)
    .autoOrient()
    .resize(100, 100, { fit: "inside" })
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  rgbaToThumbHash(info.width, info.height, data);
  // From the hundred pixels, not from the file again: cheaper than most do it.
  const small = { raw: { width: info.width, height: info.height, channels: 4 } };
  await Promise.all([sharp(data, small).stats(), sharp(data, small).resize(20).blur(0.8).webp().toBuffer()]);
}

async function make(photo, folder, settings) {
  const bytes = { avif: 0, webp: 0, jpeg: 0, png: 0 };
  const outputs = Object.entries(SIZES).flatMap(([size, width]) =>
    Object.entries(settings).map(async ([format, options]) => {
      const file = path.join(folder, `${size}.${format}`);
      const made = await sharp(photo)
        .autoOrient()
        .resize({ width, withoutEnlargement: true })
        .toFormat(format, options)
        .toFile(file);
      bytes[format] += made.size;
    }),
  );
  await Promise.all([...outputs, analyse(photo)]);
  return bytes;
}

async function main() {
  const [photo, folder, settings] = process.argv.slice(2);
  const started = performance.now();
  const bytes = await make(photo, folder, SETTINGS[settings]);
  const seconds = (performance.now() - started) / 1000;
  const peak = Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
  console.log(JSON.stringify({ seconds, peak, bytes, versions: { sharp: sharp.versions.sharp, libvips: sharp.versions.vips } }));
}

main();
