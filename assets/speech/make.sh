#!/bin/sh
# Makes the speech that `mixminus demo` and `mixminus load` send: seven voices, seven texts written for this project.
#
# Needs Debian's flite, espeak-ng, sox and opus-tools. Voices: flite's slt, rms, awb and kal16 (free, without
# restriction on what is made with them) and espeak-ng's en-gb and en-us variants. Pauses are cut to 0.2 s, so that
# a looped talker never falls silent long enough to stop contributing; all are brought to the same loudness.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

finish() { # NAME: $work/NAME.raw.wav → NAME.opus
    sox "$work/$1.raw.wav" -r 48000 -c 1 "$work/$1.spoken.wav" highpass 60 silence -l 1 0.02 -48d -1 0.2 -48d
    sox "$work/$1.spoken.wav" "$work/$1.cut.wav" fade t 0.01 -0 0.05
    rms=$(sox "$work/$1.cut.wav" -n stat 2>&1 | awk '/RMS.*amplitude/ { print $3 }')
    gain=$(awk -v rms="$rms" 'BEGIN { print -22 - 20 * log(rms) / log(10) }')
    sox "$work/$1.cut.wav" -b 16 "$work/$1.wav" gain -l "$gain"
    opusenc --quiet --discard-comments --discard-pictures --bitrate 32 --vbr --comp 10 --serial "$2" \
        --max-delay 1000 "$work/$1.wav" "$1.opus"
}

with_flite() { # NAME SERIAL VOICE STRETCH TEXT
    flite -voice "$3" --setf duration_stretch="$4" -t "$5" -o "$work/$1.raw.wav"
    finish "$1" "$2"
}

with_espeak() { # NAME SERIAL VOICE PITCH TEXT
    espeak-ng -v "$3" -p "$4" -s 165 -w "$work/$1.raw.wav" "$5"
    finish "$1" "$2"
}

with_flite alma 1 slt 1.0 "Good morning, everybody. I have the list of the open questions here, and I would like to go through it before the others arrive. The first one is the new bridge over the river."
with_flite boris 2 rms 0.95 "Thank you. We measured the ground on both banks last week, and it carries more than we had thought. A single span of ninety metres will do, so nobody needs to work in the water."
with_flite craig 3 awb 1.0 "That is good to hear, but what about the ferry? Forty people cross with it each day, and three families live by it. Let us talk with them before the papers do."
with_espeak dora 4 en-gb+f2 60 "I met the ferryman on Tuesday. He is sixty-eight years old and wants to stop in autumn anyway. His daughter would rather run the small cafe beside the landing."
with_flite edgar 5 kal16 0.95 "Then the budget is the only thing left. Steel became cheaper in spring, cables did not. If we order before the summer holidays, we stay four percent below the estimate."
with_espeak fay 6 en-us+f4 45 "Please wait a moment, my train is just leaving the tunnel. Can you hear me now? Wonderful. I agree with all of it, and I will send the drawings around tonight."
with_espeak gus 7 en-gb+m3 35 "Gus here, from the yard. The pontoon cranes are booked until the middle of May, and after that I can give you two crews. Somebody has to tell the harbour master, though."
