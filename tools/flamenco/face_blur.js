// SPDX-License-Identifier: GPL-3.0-or-later
// A job type for Flamenco 3 (https://flamenco.blender.org): one film, covered by many workers.
// Put it into the folder "scripts" beside the Flamenco Manager. Every worker needs the command `faceblur`.

const JOB_TYPE = {
    label: "Face Blur",
    description: "Find the faces of a film, cover them on many workers, join and verify the result",
    settings: [
        { key: "film", type: "string", subtype: "file_path", required: true, description: "The film, on shared storage" },
        { key: "output", type: "string", subtype: "file_path", required: true, description: "The covered film" },
        { key: "storage", type: "string", subtype: "dir_path", required: true,
          description: "Folder on shared storage for the tracks and the painted pieces" },
        { key: "segments", type: "int32", default: 8, description: "Number of tasks that the painting is divided into" },
        { key: "preset", type: "string", default: "balanced", choices: ["fast", "balanced", "thorough"],
          description: "How carefully faces are searched" },
        { key: "effect", type: "string", default: "solid",
          choices: ["solid", "mosaic", "blur", "erase", "gaussian"], description: "What covers the faces" },
        { key: "verify", type: "bool", default: true, description: "Compare the covered film with its source" },
        { key: "exe", type: "string", default: "faceblur", visible: "submission",
          description: "The command on the workers" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const segments = Math.max(1, settings.segments);
    const tracks = path.join(settings.storage, `${job.name}.tracks.json`);
    const shared = ["--tracks", tracks, "--pieces", path.join(settings.storage, `${job.name}.pieces`),
        "--effect", settings.effect, "--quiet"];

    const analyse = addTask(job, "analyse", settings, [
        "--preset", settings.preset, "--no-render", "--save-tracks", tracks, "--overwrite", "--quiet"]);

    const paint = [];
    for (let number = 1; number <= segments; number++) {
        const task = addTask(job, `paint ${number} of ${segments}`, settings,
            shared.concat(["--segment", `${number}/${segments}`]));
        task.addDependency(analyse);
        paint.push(task);
    }

    // A film that leaks ends its task with code 3, which fails the job.
    const join = addTask(job, "join", settings, shared.concat(settings.verify ? ["--verify"] : []));
    for (const task of paint) {
        join.addDependency(task);
    }
}

function addTask(job, name, settings, args) {
    const task = author.Task(name, "misc");
    task.addCommand(author.Command("exec", {
        exe: settings.exe,
        args: [settings.film, "--output", settings.output].concat(args),
    }));
    job.addTask(task);
    return task;
}
