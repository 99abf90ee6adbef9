'use strict';
// Starts the jobpass binary with one verb, passes the runner's signals on, and ends as it ends. No packages, no shell.
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

// SHA-256 of bin/SYSTEM/jobpass in the tree of a release, by system. Empty on the main branch, which holds no binaries.
const RELEASED = {};

const root = path.join(__dirname, '..');
const system = `${process.platform}-${process.arch}`;
const name = process.platform === 'win32' ? 'jobpass.exe' : 'jobpass';

function binary() {
  const released = path.join(root, 'bin', system, name);
  const built = path.join(root, 'target', 'release', name);
  if (Object.hasOwn(RELEASED, system)) {
    // Never anything else in its place: pinning the action pins this file.
    const digest = createHash('sha256').update(fs.readFileSync(released)).digest('hex');
    if (digest !== RELEASED[system]) throw new Error(`bin/${system}/${name} is not the file that was released: pin the action to a release`);
    return released;
  }
  if (fs.existsSync(released)) throw new Error(`bin/${system}/${name} is not in the table of github/shim.js: pin the action to a release`);
  if (Object.keys(RELEASED).length > 0) throw new Error(`there is no jobpass for ${system} yet, only for ${Object.keys(RELEASED).join(', ')}`);
  if (fs.existsSync(built)) {
    return built;
  }
  throw new Error('this tree of jobpass has no binary: use a release, or run `cargo build --release --no-default-features` in it first');
}

module.exports = function run(phase, verb) {
  const main = phase === 'main';
  // A post step of a main step that came to nothing has nothing to say; a revocation that fails fails the job only if it is asked to.
  const quiet = !main && !process.env.STATE_lease;
  const fatal = main || (process.env.INPUT_REVOKE || '').trim() === 'strict';
  const fail = (error) => {
    const words = String(error.message).replace(/[\r\n]+/g, ' ').replace(/%/g, '%25');
    if (!quiet) console.error(`::${fatal ? 'error' : 'warning'} title=jobpass::cannot start jobpass: ${words}`);
    process.exit(fatal && !quiet ? 1 : 0);
  };
  let file;
  try {
    // An earlier step could have set STATE_lease for everybody; what the runner has from us wins.
    if (main && process.env.GITHUB_STATE) fs.appendFileSync(process.env.GITHUB_STATE, 'lease=\n');
    file = binary();
    if (main && Object.keys(RELEASED).length === 0) console.error(`jobpass: target/release/${name}, built here and not released`);
    // For `shell: jobpass run -- …` in the steps after this one.
    if (main && process.env.GITHUB_PATH) fs.appendFileSync(process.env.GITHUB_PATH, path.dirname(file) + '\n');
  } catch (error) {
    return fail(error);
  }
  // By an argument: a variable could be set by any step of the job.
  const child = spawn(file, [verb, '--action', phase], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('error', fail);
  child.on('exit', (code, signal) => process.exit(signal ? 128 + os.constants.signals[signal] : code));
};
