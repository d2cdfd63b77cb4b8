// A camera of this device, shown in a video element.

import { pixelsOf } from "./pixels.js";
import { say } from "./words.js";

/** Words for errors of getUserMedia by their names. @type {Record<string, string>} */
const WHY = {
  NotAllowedError: "camera.denied",
  SecurityError: "camera.denied",
  NotFoundError: "camera.none",
  OverconstrainedError: "camera.none",
  NotReadableError: "camera.busy",
  AbortError: "camera.busy",
};

/**
 * Open a camera, the one at the back of a phone first.
 * @param {HTMLVideoElement} video shows what the camera sees
 */
export async function openCamera(video) {
  let stream = await ask({ facingMode: "environment" });
  let canvas = new OffscreenCanvas(1, 1);
  await show();

  async function show() {
    video.srcObject = stream;
    try {
      await video.play();
    } catch (error) {
      close(); // the video element has left the page: no camera may run on unseen
      throw wordsOf(error);
    }
  }

  function close() {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }

  return {
    /** Return what the camera sees now. */
    frame() {
      const [track] = stream.getVideoTracks();
      if (track?.readyState !== "live") throw new Error(say("camera.ended"));
      const [width, height] = [video.videoWidth, video.videoHeight];
      if (!width || !height) throw new Error(say("camera.notReady"));
      if (canvas.width !== width || canvas.height !== height) {
        canvas = new OffscreenCanvas(width, height);
      }
      return pixelsOf(video, width, height, canvas);
    },
    /** Change to the next camera; nothing changes if there is only one. */
    async flip() {
      const cameras = await navigator.mediaDevices.enumerateDevices();
      const ids = cameras.filter((one) => one.kind === "videoinput").map((one) => one.deviceId);
      const now = stream.getVideoTracks()[0]?.getSettings().deviceId ?? "";
      if (ids.length < 2) return;
      const next = ids[(ids.indexOf(now) + 1) % ids.length];
      // Most phones open a second camera only when the first one has ended.
      close();
      stream = await ask({ deviceId: { exact: next } });
      await show();
    },
    close,
  };
}

/** @param {MediaTrackConstraints} wanted */
async function ask(wanted) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(say("camera.insecure"));
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { ...wanted, width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: false,
    });
  } catch (error) {
    throw wordsOf(error);
  }
}

/** @param {unknown} error */
function wordsOf(error) {
  const { name, message } = /** @type {Error} */ (error);
  return new Error(say(WHY[name] ?? "camera.failed", { why: message }));
}
